// Package serve is what the services share: an HTTP server that ends well, and
// settings from the environment.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// Setting is an environment variable, or fallback where it is not set.
func Setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// Duration is a setting such as "3s".
func Duration(name string, fallback time.Duration) time.Duration {
	value, err := time.ParseDuration(Setting(name, fallback.String()))
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return value
}

// Signalled is over when the process is asked to end.
func Signalled() context.Context {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	return ctx
}

// Health answers probes.
type Health struct {
	// Ending is set once the process was asked to end: it is no longer ready.
	Ending atomic.Bool
	// Ready says why the service is not ready; nil: it always is.
	Ready func() error
	// Live says why the service has to be restarted; nil: it never has to.
	Live func() error
}

// Register adds /healthz and /readyz.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.Live) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.Ending.Load() {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		answer(w, h.Ready)
	})
}

func answer(w http.ResponseWriter, check func() error) {
	if check != nil {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	w.Write([]byte("ok\n"))
}

// Listen opens a port. It is the first that a service does: connections wait
// until they are served, but where nobody listens a probe fails, and is tried
// again only a whole period later.
func Listen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

// Until serves, each server on its listener, until ctx is over, then goes on for drain, so that those who do
// not know yet are answered, and ends when every request is.
func Until(ctx context.Context, drain time.Duration, health *Health, servers map[net.Listener]*http.Server) {
	failed := make(chan error, len(servers))
	for listener, server := range servers {
		go func() {
			var err error
			if server.TLSConfig != nil {
				err = server.ServeTLS(listener, "", "")
			} else {
				err = server.Serve(listener)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ctx.Done():
	}
	health.Ending.Store(true)
	log.Printf("ending in %v", drain)
	<-time.After(drain)
	last, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, server := range servers {
		if err := server.Shutdown(last); err != nil {
			log.Print(err)
		}
	}
}

// JSON writes a value.
func JSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}
