// Command leader delivers Shipments: whichever of its replicas holds the Lease
// puts what they say into the store, and takes it out again when they go.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"seatrial.invalid/reference/internal/kube"
	"seatrial.invalid/reference/internal/serve"
)

func main() {
	listener := serve.Listen(":8080")
	client, err := kube.InCluster()
	if err != nil {
		log.Fatal(err)
	}
	identity, _ := os.Hostname()
	controller := &controller{
		kube:      client,
		store:     serve.Setting("STORE_URL", "http://store:8080"),
		class:     serve.Setting("CLASS", "default"),
		namespace: serve.Setting("WATCH_NAMESPACE", ""),
		identity:  identity,
		http:      &http.Client{Timeout: 3 * time.Second},
	}
	var leading atomic.Bool
	mux := http.NewServeMux()
	health := &serve.Health{}
	health.Register(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		serve.JSON(w, map[string]any{"host": identity, "leading": leading.Load(), "deliveries": controller.deliveries.Load()})
	})
	mux.HandleFunc("POST /crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	ctx := serve.Signalled()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A restarted container is another holder: it knows nothing of what the first did.
		holder := fmt.Sprint(identity, "/", time.Now().UnixNano())
		client.Lead(ctx, "leader", holder, serve.Duration("LEASE", 3*time.Second), func(ctx context.Context) {
			leading.Store(true)
			controller.run(ctx)
			leading.Store(false)
		})
	}()
	serve.Until(ctx, 0, health, map[net.Listener]*http.Server{listener: {Handler: mux}})
	<-done
}
