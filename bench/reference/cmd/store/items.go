package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"seatrial.invalid/reference/internal/serve"
)

// largest is how many bytes an item may have.
const largest = 1 << 20

// items are files: one directory for each shelf, one file for each item.
type items struct {
	dir  string
	sync bool
	mu   sync.RWMutex
}

func open(dir string) (*items, error) {
	return &items{dir: dir, sync: serve.Setting("SYNC", "false") == "true"}, os.MkdirAll(dir, 0o755)
}

func (s *items) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /items/{shelf}", s.list)
	mux.HandleFunc("GET /items/{shelf}/{name}", s.get)
	mux.HandleFunc("PUT /items/{shelf}/{name}", s.put)
	mux.HandleFunc("DELETE /items/{shelf}/{name}", s.remove)
}

// path escapes what names a file, so that no name leaves the directory.
func (s *items) path(r *http.Request) string {
	return filepath.Join(s.dir, "s-"+url.PathEscape(r.PathValue("shelf")), "i-"+url.PathEscape(r.PathValue("name")))
}

func tag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

func (s *items) list(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries, err := os.ReadDir(filepath.Join(s.dir, "s-"+url.PathEscape(r.PathValue("shelf"))))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	names := []string{}
	for _, entry := range entries {
		if name, ok := strings.CutPrefix(entry.Name(), "i-"); ok {
			plain, _ := url.PathUnescape(name)
			names = append(names, plain)
		}
	}
	slices.Sort(names)
	serve.JSON(w, names)
}

func (s *items) get(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	content, err := os.ReadFile(s.path(r))
	s.mu.RUnlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "no such item", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case r.Header.Get("If-None-Match") == tag(content):
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("ETag", tag(content))
		w.Write(content)
	}
}

func (s *items) put(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largest))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	path := s.path(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := os.ReadFile(path)
	there := err == nil
	if !allowed(r, there, before) {
		http.Error(w, "the item is another by now", http.StatusPreconditionFailed)
		return
	}
	if err := s.write(path, content); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("ETag", tag(content))
	if there {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusCreated)
	}
}

// allowed tells whether the conditions of a request hold for what is there.
func allowed(r *http.Request, there bool, content []byte) bool {
	if r.Header.Get("If-None-Match") == "*" && there {
		return false
	}
	if want := r.Header.Get("If-Match"); want != "" && (!there || want != tag(content)) {
		return false
	}
	return true
}

func (s *items) write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	if err == nil && s.sync {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func (s *items) remove(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	err := os.Remove(s.path(r))
	s.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "no such item", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
