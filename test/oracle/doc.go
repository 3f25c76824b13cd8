// Package oracle recomputes from the objects which access each user should have, and compares that with the access that
// there is. It is the second opinion on the controllers: written from what the fields of api/v1alpha1 say they mean, as
// plainly as possible, in one pass over everything, with no memory, no cache and nothing incremental.
//
// It stands beside the operator, at the API server's far end. Of the operator's code it may use api/v1alpha1 only, or it
// would repeat its mistakes.
package oracle
