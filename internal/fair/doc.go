// Package fair shares workers among Apps: what one App has to do takes no other App's turn.
//
// Queue is a work queue of a controller, in place of controller-runtime's, which serves by priority alone. Slots bounds
// something that Apps do at the same time. Both take Apps in turn, and both leave room: an App gets another place only while
// enough of them are free, so that an App that comes late finds one, whatever the others do (the dynamic thresholds of shared
// buffers in switches). Removals have places of their own, and come before all other work.
//
// Libraries were looked at: controller-runtime's priority queue has an order within a priority and no share of workers, and
// the fair queuing of the API server's priority and fairness serves requests, which it holds, and no keys.
package fair
