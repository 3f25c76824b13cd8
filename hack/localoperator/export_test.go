package localoperator

// SortPolicies is for tests.
var SortPolicies = sortPolicies
