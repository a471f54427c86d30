package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"seatrial.invalid/reference/internal/kube"
)

const (
	finalizer = "reference.test/store"
	label     = "reference.test/shipment"
	group     = "/apis/reference.test/v1"
)

type shipment struct {
	Metadata struct {
		Name, Namespace, UID, ResourceVersion string
		Generation                            int64
		DeletionTimestamp                     *string
		Finalizers                            []string
	}
	Spec struct {
		Message string
		Count   int
		Class   string
	}
	Status struct {
		ObservedGeneration int64
		Deliveries         int64
		Phase              string
	}
}

type key struct{ namespace, name string }

// controller makes the store and ConfigMaps say what Shipments say.
type controller struct {
	kube                              *kube.Client
	store, class, namespace, identity string
	http                              *http.Client
	deliveries                        atomic.Int64
}

func (c *controller) scope(group, resource string) string {
	if c.namespace == "" {
		return group + "/" + resource
	}
	return group + "/namespaces/" + c.namespace + "/" + resource
}

// run delivers until ctx is over. Work on one Shipment is never done twice at once.
func (c *controller) run(ctx context.Context) {
	work := newQueue()
	complain := func(err error) { log.Printf("watch: %v", err) }
	go c.kube.Follow(ctx, c.scope(group, "shipments"), "", func(event kube.Event) {
		var s shipment
		if event.Type != "LISTED" && json.Unmarshal(event.Object, &s) == nil && s.Spec.Class == c.class {
			work.add(key{s.Metadata.Namespace, s.Metadata.Name})
		}
	}, complain)
	go c.kube.Follow(ctx, c.scope("/api/v1", "configmaps"), "labelSelector="+label, func(event kube.Event) {
		var m struct {
			Metadata struct {
				Namespace string
				Labels    map[string]string
			}
		}
		if event.Type != "LISTED" && json.Unmarshal(event.Object, &m) == nil {
			work.add(key{m.Metadata.Namespace, m.Metadata.Labels[label]})
		}
	}, complain)
	for {
		k, ok := work.next(ctx)
		if !ok {
			return
		}
		if err := c.reconcile(ctx, k); err != nil && ctx.Err() == nil {
			log.Printf("%s/%s: %v", k.namespace, k.name, err)
			time.AfterFunc(300*time.Millisecond, func() { work.add(k) })
		}
	}
}

func (c *controller) reconcile(ctx context.Context, k key) error {
	path := group + "/namespaces/" + k.namespace + "/shipments/" + k.name
	var s shipment
	err := c.kube.Do(ctx, "GET", path, kube.JSON, nil, &s)
	if kube.IsCode(err, 404) {
		return nil
	}
	if err != nil || s.Spec.Class != c.class {
		return err
	}
	has := slices.Contains(s.Metadata.Finalizers, finalizer)
	if s.Metadata.DeletionTimestamp != nil {
		if !has {
			return nil
		}
		if err := c.item(ctx, "DELETE", k, nil); err != nil {
			return err
		}
		rest := slices.DeleteFunc(s.Metadata.Finalizers, func(f string) bool { return f == finalizer })
		return c.finalizers(ctx, path, &s, rest)
	}
	if !has {
		// Before anything is made: what is made must be found again.
		return c.finalizers(ctx, path, &s, append(s.Metadata.Finalizers, finalizer))
	}
	content := bytes.Repeat([]byte(s.Spec.Message+"\n"), max(s.Spec.Count, 1))
	if err := c.item(ctx, "PUT", k, content); err != nil {
		return err
	}
	if err := c.receipt(ctx, k, &s); err != nil {
		return err
	}
	if s.Status.ObservedGeneration == s.Metadata.Generation && s.Status.Phase == "Delivered" {
		return nil
	}
	c.deliveries.Add(1)
	status := map[string]any{"status": map[string]any{
		"phase": "Delivered", "observedGeneration": s.Metadata.Generation, "deliveredBy": c.identity, "deliveries": s.Status.Deliveries + 1,
	}}
	return c.kube.Do(ctx, "PATCH", path+"/status", kube.MergePatch, status, nil)
}

// finalizers replaces them, unless the Shipment is another by now.
func (c *controller) finalizers(ctx context.Context, path string, s *shipment, list []string) error {
	if list == nil {
		list = []string{}
	}
	patch := map[string]any{"metadata": map[string]any{"finalizers": list, "resourceVersion": s.Metadata.ResourceVersion}}
	return c.kube.Do(ctx, "PATCH", path, kube.MergePatch, patch, nil)
}

// receipt is a ConfigMap that goes with its Shipment.
func (c *controller) receipt(ctx context.Context, k key, s *shipment) error {
	name := "shipment-" + k.name
	object := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": name, "labels": map[string]string{label: k.name},
			"ownerReferences": []any{map[string]any{
				"apiVersion": "reference.test/v1", "kind": "Shipment", "name": k.name, "uid": s.Metadata.UID, "controller": true,
			}},
		},
		"data": map[string]string{"message": s.Spec.Message, "count": fmt.Sprint(s.Spec.Count)},
	}
	path := "/api/v1/namespaces/" + k.namespace + "/configmaps/" + name + "?fieldManager=leader&force=true"
	return c.kube.Do(ctx, "PATCH", path, kube.ApplyPatch, object, nil)
}

func (c *controller) item(ctx context.Context, method string, k key, content []byte) error {
	url := c.store + "/items/" + k.namespace + "/" + k.name
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode >= 300 && !(method == "DELETE" && response.StatusCode == http.StatusNotFound) {
		return fmt.Errorf("store: %s", response.Status)
	}
	return nil
}

// queue holds keys, each once, in the order in which they came.
type queue struct {
	mu    sync.Mutex
	keys  []key
	ready chan struct{}
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

func (q *queue) add(k key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.keys, k) {
		q.keys = append(q.keys, k)
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *queue) next(ctx context.Context) (key, bool) {
	for {
		if ctx.Err() != nil {
			return key{}, false
		}
		q.mu.Lock()
		if len(q.keys) > 0 {
			k := q.keys[0]
			q.keys = q.keys[1:]
			q.mu.Unlock()
			return k, true
		}
		q.mu.Unlock()
		select {
		case <-q.ready:
		case <-ctx.Done():
		}
	}
}
