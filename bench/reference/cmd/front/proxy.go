package main

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// proxy passes requests for items on to the store.
type proxy struct {
	store    string
	settings *settings
	client   *http.Client

	mu   sync.Mutex
	kept map[string]item
}

type item struct {
	tag     string
	content []byte
}

// most is how many items are kept.
const most = 1000

func newProxy(store string, settings *settings) *proxy {
	return &proxy{store: store, settings: settings, client: &http.Client{Timeout: 5 * time.Second}, kept: map[string]item{}}
}

func (p *proxy) register(mux *http.ServeMux) {
	mux.HandleFunc("/items/", p.pass)
}

func (p *proxy) pass(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	request, err := http.NewRequestWithContext(r.Context(), r.Method, p.store+path, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	now, _ := p.settings.now()
	cached := now.Cache && r.Method == "GET"
	var have item
	if cached {
		if have = p.look(path); have.tag != "" {
			request.Header.Set("If-None-Match", have.tag)
		}
	}
	response, err := p.client.Do(request)
	if err != nil {
		http.Error(w, "the store does not answer: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	if cached && response.StatusCode == http.StatusNotModified && have.tag != "" {
		w.Header().Set("X-Cache", "hit")
		w.Header().Set("ETag", have.tag)
		w.Write(have.content)
		return
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		http.Error(w, "the store broke off: "+err.Error(), http.StatusBadGateway)
		return
	}
	tag := response.Header.Get("ETag")
	if cached {
		w.Header().Set("X-Cache", "miss")
		if response.StatusCode == http.StatusOK && tag != "" {
			p.keep(path, item{tag, content})
		}
	}
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	w.WriteHeader(response.StatusCode)
	w.Write(content)
}

func (p *proxy) look(path string) item {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept[path]
}

func (p *proxy) keep(path string, what item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) >= most {
		clear(p.kept)
	}
	p.kept[path] = what
}
