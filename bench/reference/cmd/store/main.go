// Command store keeps items in files of one directory.
package main

import (
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"seatrial.invalid/reference/internal/serve"
)

func main() {
	listener := serve.Listen(":8080")
	items, err := open(serve.Setting("DATA", "/data"))
	if err != nil {
		log.Fatal(err)
	}
	host, _ := os.Hostname()
	mux := http.NewServeMux()
	items.register(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		serve.JSON(w, map[string]any{"host": host, "sync": items.sync})
	})
	mux.HandleFunc("POST /crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	health := &serve.Health{}
	health.Register(mux)
	serve.Until(serve.Signalled(), serve.Duration("DRAIN", time.Second), health, map[net.Listener]*http.Server{listener: {Handler: mux}})
}
