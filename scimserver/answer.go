package scimserver

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	// wholeAnswer is up to how many bytes an answer is sent as a whole, with its length; a larger one is sent part by part.
	wholeAnswer = 256 << 10
	// answerPart is how much is written at a time. A client that does not take as much within progress is cut off.
	answerPart = 64 << 10
	// progress bounds the wait for a client that sends or reads nothing.
	progress = 10 * time.Second
	// answerTimeout bounds how long a client may take to read one answer.
	answerTimeout = 2 * time.Minute
	// bodyTimeout bounds how long a client may take to send one request.
	bodyTimeout = time.Minute
)

// answerWriter writes one answer. What is small is sent as a whole by close; of what is large no more than a part is in memory.
type answerWriter struct {
	exchange *exchange
	status   int
	buffer   []byte
	begun    bool // the first part has been sent
}

// Write is io.Writer. The error is of a client that does not read.
func (w *answerWriter) Write(data []byte) (int, error) {
	err := w.grow(func(dst []byte) ([]byte, error) { return append(dst, data...), nil })
	return len(data), err
}

// grow has more appended to the answer. The error is append's, or of a client that does not read.
func (w *answerWriter) grow(appendTo func(dst []byte) ([]byte, error)) error {
	var err error
	if w.buffer, err = appendTo(w.buffer); err != nil {
		return err
	}
	if !w.begun && len(w.buffer) < wholeAnswer || len(w.buffer) < answerPart {
		return nil
	}
	return w.send()
}

func (w *answerWriter) send() error {
	if !w.begun {
		w.begun = true
		w.exchange.begin(w.status)
	}
	err := w.exchange.send(w.buffer)
	if w.buffer = w.buffer[:0]; cap(w.buffer) > wholeAnswer {
		w.buffer = nil
	}
	return err
}

// end sends what is left, after produce has written the answer. An answer that failed before its first part was sent becomes an
// error's; after that the connection is closed, so that the client does not take a part for the whole.
func (w *answerWriter) end(err error) error {
	switch {
	case err != nil && !w.begun:
		return err
	case err != nil:
		w.exchange.abort(err)
	case !w.begun:
		w.exchange.answer(w.status, w.buffer)
	default:
		if err := w.send(); err != nil {
			w.exchange.abort(err)
		}
	}
	return nil
}

// answerPage writes a list, one resource after the other.
func (x *exchange) answerPage(list protocol.ListResponse, resources page) error {
	w := &answerWriter{exchange: x, status: http.StatusOK, buffer: list.AppendOpening(nil, resources.count)}
	for i := range resources.count {
		if i > 0 {
			w.buffer = append(w.buffer, ',')
		}
		if err := resources.write(w, i); err != nil {
			return w.end(err)
		}
	}
	w.buffer = append(w.buffer, protocol.ListClosing...)
	return w.end(nil)
}

// begin writes the header of an answer before its length is known.
func (x *exchange) begin(status int) {
	header := x.writer.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	x.status = status
	x.writer.WriteHeader(status)
}

// answer writes a body that is already JSON.
func (x *exchange) answer(status int, body []byte) {
	x.writer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.begin(status)
	if err := x.send(body); err != nil {
		x.abort(err)
	}
}

// send writes a part of an answer. The client must take each answerPart of it within progress.
func (x *exchange) send(body []byte) error {
	if x.request.Method == http.MethodHead {
		return nil
	}
	x.pause()
	for len(body) > 0 {
		part := body[:min(len(body), answerPart)]
		x.extend((*http.ResponseController).SetWriteDeadline, answerTimeout)
		n, err := x.writer.Write(part)
		x.written += n
		if err != nil {
			return err
		}
		body = body[len(part):]
	}
	return nil
}

// extend gives the client time for the next part: progress, but no more than total since the request began.
func (x *exchange) extend(set func(*http.ResponseController, time.Time) error, total time.Duration) {
	if x.begun.IsZero() { // an operation of a bulk request: its answer is held in memory
		return
	}
	deadline := time.Now().Add(x.progress)
	if last := x.begun.Add(total); last.Before(deadline) {
		deadline = last
	}
	// A writer without deadlines, such as a test's, has no client that could be slow.
	_ = set(http.NewResponseController(x.writer), deadline)
}

// abort has the connection closed once the request is recorded.
func (x *exchange) abort(err error) {
	x.aborted = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		x.refused(flowcontrol.ReasonStalled)
		x.log.Info("Closed the connection of a client that did not read its answer", "written", x.written)
		return
	}
	x.log.V(1).Info("Answer was not read to its end", "error", err.Error())
}
