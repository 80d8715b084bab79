// Package gather answers single numbers by gathering them into bulk lookups.
package gather

import (
	"context"
	"math/rand"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "example.com/gateway/gen/numroute/v1"
)

const (
	batchMax       = 4096                   // numbers in one call
	callsMax       = 2                      // calls under way on one connection
	attemptTimeout = 500 * time.Millisecond // of one call
	attemptsMax    = 7                      // calls for one batch, each over another connection
	firstPause     = 20 * time.Millisecond  // before the second attempt; doubles
)

// Answer is the route of a number, its status included, and the snapshot that it comes from.
type Answer struct {
	Route    *pb.Route
	Snapshot string
	err      error
}

type question struct {
	ctx    context.Context
	number uint64
	answer chan Answer
}

// Gatherer may be used by any number of goroutines.
type Gatherer struct {
	clients   []pb.NumberRoutingClient
	questions chan question
	turn      uint32
}

// New opens connections to target: several, because the service gives each to one of its workers.
func New(target string, connections int, options ...grpc.DialOption) (*Gatherer, error) {
	g := &Gatherer{questions: make(chan question, batchMax)}
	for i := 0; i < connections; i++ {
		connection, err := grpc.Dial(target, options...)
		if err != nil {
			return nil, err
		}
		g.clients = append(g.clients, pb.NewNumberRoutingClient(connection))
	}
	for i := 0; i < connections*callsMax; i++ {
		go g.send()
	}
	return g, nil
}

// Lookup answers for one whole E.164 number without "+". It returns when ctx is done.
func (g *Gatherer) Lookup(ctx context.Context, number uint64) (answer Answer, err error) {
	asked := question{ctx, number, make(chan Answer, 1)}
	select {
	case g.questions <- asked:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	select {
	case answer = <-asked.answer:
		return answer, answer.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// send takes what waits, at least one question, and asks for all of it in one call.
func (g *Gatherer) send() {
	for first := range g.questions {
		runtime.Gosched() // other goroutines ask meanwhile
		batch, request := []question{first}, &pb.BulkLookupRequest{Numbers: []uint64{first.number}}
		for waiting := len(g.questions); waiting > 0 && len(batch) < batchMax; waiting-- {
			select {
			case next := <-g.questions:
				if next.ctx.Err() == nil {
					batch, request.Numbers = append(batch, next), append(request.Numbers, next.number)
				}
			default: // another sender took it
			}
		}
		response, err := g.call(request)
		for i, asked := range batch {
			answer := Answer{err: err}
			if err == nil {
				answer.Route = response.Routes[response.RouteIndexes[i]]
				answer.Snapshot = response.Snapshot.GetId()
			}
			asked.answer <- answer
		}
	}
}

// call repeats what another worker or replica may answer: a lookup changes nothing.
func (g *Gatherer) call(request *pb.BulkLookupRequest) (*pb.BulkLookupResponse, error) {
	for attempt, pause := 1, firstPause; ; attempt, pause = attempt+1, 2*pause {
		turn := int(atomic.AddUint32(&g.turn, 1)) % len(g.clients)
		ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
		response, err := g.clients[turn].BulkLookup(ctx, request)
		cancel()
		code := status.Code(err)
		if attempt == attemptsMax || code != codes.Unavailable &&
			code != codes.Canceled && code != codes.DeadlineExceeded {
			return response, err
		}
		time.Sleep(pause/2 + time.Duration(rand.Int63n(int64(pause))))
	}
}
