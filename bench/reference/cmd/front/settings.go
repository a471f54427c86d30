package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"seatrial.invalid/reference/internal/kube"
	"seatrial.invalid/reference/internal/serve"
)

// values is a configuration.
type values struct {
	Greeting string
	// Cache says whether items are kept, and asked for by their tag.
	Cache bool
}

func parse(data map[string]string) (values, error) {
	var v values
	v.Greeting = data["greeting"]
	if v.Greeting == "" || len(v.Greeting) > 100 {
		return v, errors.New("greeting: 1 to 100 bytes")
	}
	cache, err := strconv.ParseBool(data["cache"])
	if err != nil {
		return v, fmt.Errorf("cache: %q is neither true nor false", data["cache"])
	}
	v.Cache = cache
	return v, nil
}

// settings is the last good configuration, and what is wrong with a newer one.
type settings struct {
	mu      sync.RWMutex
	good    *values
	problem string
	first   chan struct{} // closed when there is a good one
}

// wait waits until there is a configuration.
func (s *settings) wait(within time.Duration) error {
	select {
	case <-s.first:
		return nil
	case <-time.After(within):
		return errors.New("no configuration yet")
	}
}

func (s *settings) now() (values, string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.good == nil {
		return values{}, "no configuration yet"
	}
	return *s.good, s.problem
}

func (s *settings) take(data map[string]string) {
	v, err := parse(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.problem = err.Error()
		log.Printf("the configuration stays as it was: %v", err)
		return
	}
	if s.good == nil {
		close(s.first)
	}
	s.good, s.problem = &v, ""
	log.Printf("configuration: %+v", v)
}

func follow(ctx context.Context, client *kube.Client) *settings {
	s := &settings{first: make(chan struct{})}
	name := serve.Setting("CONFIG", "front")
	path := "/api/v1/namespaces/" + client.Namespace + "/configmaps"
	go client.Follow(ctx, path, "fieldSelector=metadata.name%3D"+name, func(event kube.Event) {
		var object struct{ Data map[string]string }
		if event.Type == "ADDED" || event.Type == "MODIFIED" {
			if err := json.Unmarshal(event.Object, &object); err == nil {
				s.take(object.Data)
			}
		}
	}, func(err error) { log.Printf("configuration: %v", err) })
	return s
}

func followCertificate(ctx context.Context, client *kube.Client) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	var current atomic.Pointer[tls.Certificate]
	name := serve.Setting("CERTIFICATE", "front-tls")
	path := "/api/v1/namespaces/" + client.Namespace + "/secrets"
	go client.Follow(ctx, path, "fieldSelector=metadata.name%3D"+name, func(event kube.Event) {
		var object struct{ Data map[string][]byte }
		if event.Type != "ADDED" && event.Type != "MODIFIED" {
			return
		}
		if err := json.Unmarshal(event.Object, &object); err != nil {
			log.Print(err)
			return
		}
		pair, err := tls.X509KeyPair(object.Data["tls.crt"], object.Data["tls.key"])
		if err != nil {
			log.Printf("the certificate stays as it was: %v", err)
			return
		}
		current.Store(&pair)
		log.Printf("certificate %v", pair.Leaf.SerialNumber)
	}, func(err error) { log.Printf("certificate: %v", err) })
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if certificate := current.Load(); certificate != nil {
			return certificate, nil
		}
		return nil, errors.New("no certificate yet")
	}
}
