// Package api tests what podinfo answers, through its Service, as a client in
// the cluster sees it.
package api

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"seatrial.invalid/examples/podinfo/e2e/internal/podinfo"
)

// failure is what podinfo answers, with status 200, when it refuses a request.
type failure struct {
	Code    int
	Message string
}

func TestVersionIsTheOneThatWasBuilt(t *testing.T) {
	app := podinfo.Installed(t)
	var version struct{ Version, Commit string }
	podinfo.Do(t, 200, "GET", app.URL("/version"), "").JSON(t, &version)
	if version.Commit != podinfo.Revision {
		t.Errorf("podinfo was built from commit %s, but commit %q answers", podinfo.Revision, version.Commit)
	}
	image := podinfo.Container(app.Deployment(t)).Image
	name, _, _ := strings.Cut(image, "@")
	if tag := name[strings.LastIndex(name, ":")+1:]; tag != version.Version {
		t.Errorf("the manifests install %s, but version %q answers", image, version.Version)
	}
}

func TestInfoDescribesThePod(t *testing.T) {
	app := podinfo.Installed(t)
	var info podinfo.Info
	podinfo.Do(t, 200, "GET", app.URL("/api/info"), "").JSON(t, &info)
	if !strings.HasPrefix(info.Hostname, podinfo.Name+"-") {
		t.Errorf("hostname is not the name of a pod: %q", info.Hostname)
	}
	if want := "greetings from podinfo v" + info.Version; info.Message != want {
		t.Errorf("message: want %q, got %q", want, info.Message)
	}
	if info.GOOS != "linux" || !strings.HasPrefix(info.Runtime, "go1.") {
		t.Errorf("unexpected platform: %+v", info)
	}
}

func TestSettingsComeFromTheEnvironment(t *testing.T) {
	app := podinfo.Installed(t)
	var want string
	for _, env := range podinfo.Container(app.Deployment(t)).Env {
		if env.Name == "PODINFO_UI_COLOR" {
			want = env.Value
		}
	}
	if want == "" {
		t.Fatal("the manifests set no PODINFO_UI_COLOR")
	}
	var environ []string
	podinfo.Do(t, 200, "GET", app.URL("/env"), "").JSON(t, &environ)
	if !slices.Contains(environ, "PODINFO_UI_COLOR="+want) {
		t.Errorf("PODINFO_UI_COLOR=%s is missing in the pod's environment: %q", want, environ)
	}
	var info podinfo.Info
	podinfo.Do(t, 200, "GET", app.URL("/api/info"), "").JSON(t, &info)
	if info.Color != want {
		t.Errorf("color: want %q, got %q", want, info.Color)
	}
}

func TestEchoReturnsTheBody(t *testing.T) {
	app := podinfo.Installed(t)
	for name, body := range map[string]string{
		"empty":   "",
		"text":    "ahoy",
		"unicode": "über die Brücke, 海へ",
		"1MiB":    strings.Repeat("0123456789abcdef", 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			answer := podinfo.Do(t, 202, "POST", app.URL("/echo"), body)
			if answer.Body != body {
				t.Errorf("sent %d bytes, got %d back: %.100q", len(body), len(answer.Body), answer.Body)
			}
		})
	}
}

func TestHeadersArriveUnchanged(t *testing.T) {
	app := podinfo.Installed(t)
	var headers http.Header
	podinfo.Do(t, 200, "GET", app.URL("/headers"), "", "X-Request-Id: 42", "User-Agent: seatrial").JSON(t, &headers)
	for name, want := range map[string]string{"X-Request-Id": "42", "User-Agent": "seatrial"} {
		if got := headers.Get(name); got != want {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
	if headers.Get("X-Api-Version") == "" || headers.Get("X-Api-Revision") != podinfo.Revision {
		t.Errorf("podinfo's own headers are missing or of another build: %v", headers)
	}
}

func TestStatusCodes(t *testing.T) {
	app := podinfo.Installed(t)
	for _, code := range []int{200, 202, 404, 418, 500, 503} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			var answer struct{ Status int }
			podinfo.Do(t, code, "GET", app.URL(fmt.Sprintf("/status/%d", code)), "").JSON(t, &answer)
			if answer.Status != code {
				t.Errorf("the body tells another status: %d", answer.Status)
			}
		})
	}
}

func TestUnknownPathIsNotFound(t *testing.T) {
	app := podinfo.Installed(t)
	podinfo.Do(t, 404, "GET", app.URL("/no/such/path"), "")
	podinfo.Do(t, 405, "DELETE", app.URL("/version"), "")
}

func TestDelayTakesAsLongAsAsked(t *testing.T) {
	app := podinfo.Installed(t)
	start := time.Now()
	podinfo.Do(t, 200, "GET", app.URL("/delay/1"), "")
	if took := time.Since(start); took < time.Second || took > 4*time.Second {
		t.Errorf("a delay of 1 s took %v", took)
	}
}

func TestChunkedAnswerIsStreamed(t *testing.T) {
	app := podinfo.Installed(t)
	start := time.Now()
	response, err := http.Get(app.URL("/chunked/1"))
	podinfo.Must(t, err, "GET /chunked/1")
	defer response.Body.Close()
	if took := time.Since(start); took > 900*time.Millisecond {
		t.Errorf("the header came only after %v, with the body", took)
	}
	if !slices.Contains(response.TransferEncoding, "chunked") {
		t.Errorf("transfer encoding: want chunked, got %v", response.TransferEncoding)
	}
}

func TestTokenRoundTrip(t *testing.T) {
	app := podinfo.Installed(t)
	var issued struct {
		Token     string
		ExpiresAt time.Time `json:"expires_at"`
	}
	podinfo.Do(t, 200, "POST", app.URL("/token"), "wilma").JSON(t, &issued)

	// Any pod accepts what any pod issued: ask more often than there are pods.
	for range 6 {
		var valid struct {
			Name string `json:"token_name"`
			failure
		}
		podinfo.Do(t, 200, "GET", app.URL("/token/validate"), "", "Authorization: Bearer "+issued.Token).JSON(t, &valid)
		if valid.Name != "wilma" {
			t.Fatalf("token of wilma: %+v", valid)
		}
	}
	if left := time.Until(issued.ExpiresAt); left < 30*time.Second || left > 90*time.Second {
		t.Errorf("a token is valid for a minute, this one for %v", left)
	}
}

func TestForgedTokenIsRefused(t *testing.T) {
	app := podinfo.Installed(t)
	var issued struct{ Token string }
	podinfo.Do(t, 200, "POST", app.URL("/token"), "wilma").JSON(t, &issued)
	parts := strings.Split(issued.Token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", issued.Token)
	}
	for name, headers := range map[string][]string{
		"no token":      nil,
		"not a bearer":  {"Authorization: Basic d2lsbWE6"},
		"no signature":  {"Authorization: Bearer " + parts[0] + "." + parts[1] + "."},
		"other payload": {"Authorization: Bearer " + parts[0] + ".eyJuYW1lIjoicm9vdCIsImlzcyI6InBvZGluZm8ifQ." + parts[2]},
	} {
		t.Run(name, func(t *testing.T) {
			var answer failure
			podinfo.Do(t, 200, "GET", app.URL("/token/validate"), "", headers...).JSON(t, &answer)
			if answer.Code != 401 {
				t.Errorf("want code 401, got %+v", answer)
			}
		})
	}
}

func TestStoreKeepsContentByItsHash(t *testing.T) {
	app := podinfo.Installed(t)
	// The store is a volume of one pod, so past the Service.
	pod := app.Pod(t)
	content := "cargo manifest of " + t.Name()
	var stored struct{ Hash string }
	podinfo.Do(t, 202, "POST", podinfo.PodURL(pod, "/store"), content).JSON(t, &stored)
	sum := sha1.Sum([]byte(content))
	if want := hex.EncodeToString(sum[:]); stored.Hash != want {
		t.Errorf("hash: want the SHA-1 %s, got %q", want, stored.Hash)
	}
	if got := podinfo.Do(t, 202, "GET", podinfo.PodURL(pod, "/store/"+stored.Hash), "").Body; got != content {
		t.Errorf("stored %q, read %q", content, got)
	}
}

func TestCacheWithoutAServerSaysSo(t *testing.T) {
	app := podinfo.Installed(t)
	for _, method := range []string{"POST", "GET", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			var answer failure
			podinfo.Do(t, 200, method, app.URL("/cache/key"), "").JSON(t, &answer)
			if answer.Code != 400 || answer.Message != "cache server is offline" {
				t.Errorf("want code 400 and why, got %+v", answer)
			}
		})
	}
}

func TestBrowsersGetThePage(t *testing.T) {
	app := podinfo.Installed(t)
	answer := podinfo.Do(t, 200, "GET", app.URL("/"), "", "User-Agent: Mozilla/5.0")
	if !strings.Contains(answer.Body, "<html") || !strings.Contains(answer.Body, "<title>podinfo-") {
		t.Errorf("not the page: %v", answer)
	}
	var info podinfo.Info
	podinfo.Do(t, 200, "GET", app.URL("/"), "", "User-Agent: curl/8").JSON(t, &info)
}

func TestAPIDescriptionListsTheRoutes(t *testing.T) {
	app := podinfo.Installed(t)
	var swagger struct{ Paths map[string]any }
	podinfo.Do(t, 200, "GET", app.URL("/swagger.json"), "").JSON(t, &swagger)
	for _, path := range []string{"/api/info", "/version", "/token"} {
		if swagger.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
}

func TestMetricsCountRequests(t *testing.T) {
	app := podinfo.Installed(t)
	pod := app.Pod(t)
	before := requests(t, podinfo.PodURL(pod, "/metrics"), "418")
	const sent = 7
	for range sent {
		podinfo.Do(t, 418, "GET", podinfo.PodURL(pod, "/status/418"), "")
	}
	// Other tests may count on the same pod meanwhile.
	if counted := requests(t, podinfo.PodURL(pod, "/metrics"), "418") - before; counted < sent {
		t.Errorf("sent %d requests, %d were counted", sent, counted)
	}
	// The port that the manifests tell Prometheus to scrape.
	scrape := fmt.Sprintf("http://%s:%s/metrics", pod.Status.PodIP, pod.Annotations["prometheus.io/port"])
	if counted := requests(t, scrape, "418"); counted < sent {
		t.Errorf("%s counts only %d requests", scrape, counted)
	}
}

// requests is the counter of requests that were answered with a status.
func requests(t *testing.T, url, status string) int {
	t.Helper()
	metrics := podinfo.Do(t, 200, "GET", url, "").Body
	found := regexp.MustCompile(`(?m)^http_requests_total\{status="` + status + `"\} (\d+)$`).FindStringSubmatch(metrics)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	podinfo.Must(t, err, "read the counter")
	return n
}
