// Looks numbers up through the gatherer of docs/recipes and without it.
//
// Usage: run_gatherer TARGET TASKS LOOKUPS SINGLE, whole numbers on standard input as JSON.
// Prints {answers: [[status, operator, snapshot]], without, with}, the rates in numbers a second.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	"example.com/gateway/gather"
	pb "example.com/gateway/gen/numroute/v1"
)

// Debian's gRPC marshals with an older protobuf than its generator writes code for.
type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (codec) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func (codec) Name() string { return "proto" }

func init() { encoding.RegisterCodec(codec{}) }

func rate(tasks, lookups int, ask func(i int) error) float64 {
	var next int64 = -1
	var group sync.WaitGroup
	start := time.Now()
	for t := 0; t < tasks; t++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := atomic.AddInt64(&next, 1); i < int64(lookups); i = atomic.AddInt64(&next, 1) {
				if err := ask(int(i)); err != nil {
					log.Fatal(err)
				}
			}
		}()
	}
	group.Wait()
	return float64(lookups) / time.Since(start).Seconds()
}

func main() {
	target := os.Args[1]
	tasks, _ := strconv.Atoi(os.Args[2])
	lookups, _ := strconv.Atoi(os.Args[3])
	singles, _ := strconv.Atoi(os.Args[4])
	var numbers []uint64
	if err := json.NewDecoder(os.Stdin).Decode(&numbers); err != nil {
		log.Fatal(err)
	}
	gatherer, err := gather.New(target, 4, grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	var clients []pb.NumberRoutingClient
	for i := 0; i < 4; i++ {
		connection, err := grpc.Dial(target, grpc.WithInsecure())
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, pb.NewNumberRoutingClient(connection))
	}
	ctx := context.Background()
	answers := make([][3]string, len(numbers))
	rate(len(numbers), len(numbers), func(i int) error {
		answer, err := gatherer.Lookup(ctx, numbers[i])
		route := answer.Route
		answers[i] = [3]string{route.GetStatus().String(), route.GetOperator().GetCode(), answer.Snapshot}
		return err
	})
	gathered := func(i int) error {
		_, err := gatherer.Lookup(ctx, numbers[i%len(numbers)])
		return err
	}
	single := func(i int) error {
		request := &pb.BulkLookupRequest{Numbers: []uint64{numbers[i%len(numbers)]}}
		_, err := clients[i%len(clients)].BulkLookup(ctx, request)
		return err
	}
	rate(80, singles/10, single)
	rate(tasks, lookups, gathered)
	without := rate(80, singles, single)
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"answers": answers, "without": without, "with": rate(tasks, lookups, gathered),
	})
}
