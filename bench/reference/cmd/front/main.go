// Command front serves items out of the store: what clients of the product see.
//
// It follows its ConfigMap and its Secret, so a new configuration or
// certificate counts at once and without a restart.
package main

import (
	"crypto/tls"
	"errors"
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
	if len(os.Args) > 1 {
		os.Exit(command(os.Args[1:]))
	}
	broken := serve.Setting("BROKEN", "") // what a test wants to go wrong: start, ready or live
	if broken == "start" {
		log.Fatal("told not to start")
	}
	plain, secure := serve.Listen(":8080"), serve.Listen(":8443")
	client, err := kube.InCluster()
	if err != nil {
		log.Fatal(err)
	}
	began := time.Now()
	slow := serve.Duration("SLOW_START", 0)
	ctx := serve.Signalled()
	settings := follow(ctx, client)
	certificate := followCertificate(ctx, client)
	var unready atomic.Bool
	health := &serve.Health{
		Ready: func() error {
			switch {
			case broken == "ready":
				return errors.New("told not to be ready")
			case unready.Load():
				return errors.New("told to be unready")
			case time.Since(began) < slow:
				return errors.New("still starting")
			}
			// A first no would be asked about again only a whole period later.
			return settings.wait(800 * time.Millisecond)
		},
		Live: func() error {
			if broken == "live" || time.Since(began) < slow {
				return errors.New("not live")
			}
			return nil
		},
	}
	host, _ := os.Hostname()
	mux := http.NewServeMux()
	health.Register(mux)
	newProxy(serve.Setting("STORE_URL", "http://store:8080"), settings).register(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		now, problem := settings.now()
		serve.JSON(w, map[string]any{
			"host": host, "release": release, "variant": serve.Setting("VARIANT", ""), "greeting": now.Greeting, "cache": now.Cache, "problem": problem,
		})
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		wait, err := time.ParseDuration(r.FormValue("for"))
		if err != nil || wait > 10*time.Second {
			http.Error(w, "for: at most 10s", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-time.After(wait)
		w.Write([]byte("done\n"))
	})
	mux.HandleFunc("POST /unready", func(http.ResponseWriter, *http.Request) { unready.Store(true) })
	mux.HandleFunc("POST /ready", func(http.ResponseWriter, *http.Request) { unready.Store(false) })
	named := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Front", host)
		mux.ServeHTTP(w, r)
	})
	log.Printf("front %s listens", release)
	serve.Until(ctx, serve.Duration("DRAIN", 3*time.Second), health, map[net.Listener]*http.Server{
		plain:  {Handler: named},
		secure: {Handler: named, TLSConfig: &tls.Config{GetCertificate: certificate}},
	})
}
