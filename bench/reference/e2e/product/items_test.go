// Package product tests what the product does: items, configuration,
// certificates, Shipments and who delivers them.
package product

import (
	"strings"
	"testing"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

// cargo is what the tests store.
const cargo = "rope"

// shelf is the path of a shelf of the installed product that no other test and
// no earlier run of this one uses.
func shelf(t *testing.T) string {
	return Front(Installed, "/items/"+NewNamespace(t)+"/")
}

func TestItemsAreStoredAndRead(t *testing.T) {
	url := shelf(t)
	Do(t, 201, "PUT", url+"a", cargo)
	Do(t, 200, "PUT", url+"a", cargo+" and tar")
	for name, want := range map[string]struct {
		path, body string
		status     int
	}{
		"the newest content": {"a", cargo + " and tar", 200},
		"no such item":       {"b", "no such item\n", 404},
		"names are escaped":  {"..%2Fa", "no such item\n", 404},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Do(t, want.status, "GET", url+want.path, "").Body; got != want.body {
				t.Errorf("want %q, got %q", want.body, got)
			}
		})
	}
	t.Run("too large", func(t *testing.T) { Do(t, 413, "PUT", url+"large", strings.Repeat("x", 1<<20+1)) })
	t.Run("deleted", func(t *testing.T) {
		Do(t, 204, "DELETE", url+"a", "")
		Do(t, 404, "GET", url+"a", "")
		Do(t, 404, "DELETE", url+"a", "")
	})
}

func TestStaleWriteIsRefused(t *testing.T) {
	url := shelf(t) + "a"
	first := Do(t, 201, "PUT", url, "first").Header.Get("ETag")
	second := Do(t, 200, "PUT", url, "second", "If-Match: "+first).Header.Get("ETag")
	if first == second || first == "" {
		t.Fatalf("tags: %q and %q", first, second)
	}
	t.Run("with an old tag", func(t *testing.T) { Do(t, 412, "PUT", url, "third", "If-Match: "+first) })
	t.Run("of what should be new", func(t *testing.T) { Do(t, 412, "PUT", url, "third", "If-None-Match: *") })
	t.Run("of what should be there", func(t *testing.T) { Do(t, 412, "PUT", url+"b", "third", "If-Match: "+first) })
	if got := Do(t, 200, "GET", url, "").Body; got != "second" {
		t.Errorf("refused writes changed the item to %q", got)
	}
}

func TestCacheIsAsConfigured(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Replicas(1))
	url := Front(namespace, "/items/"+namespace+"/a")
	Do(t, 201, "PUT", url, "first")
	want := []string{"miss", "hit", "miss", "hit"}
	if Config(t)["cache"] != "true" {
		want = []string{"", "", "", ""}
	}
	for n, content := range []string{"first", "first", "second", "second"} {
		if n == 2 { // past the cache
			Do(t, 200, "PUT", Front(Installed, "/items/"+namespace+"/a"), "second")
		}
		answer := Do(t, 200, "GET", url, "")
		if got := answer.Header.Get("X-Cache"); got != want[n] || answer.Body != content {
			t.Errorf("read %d: want %q (%q), got %q (%q)", n+1, content, want[n], answer.Body, got)
		}
	}
}
