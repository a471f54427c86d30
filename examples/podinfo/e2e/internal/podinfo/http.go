package podinfo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Each request opens a connection of its own: a Service chooses a pod by
// connection, and a kept one would hide that a pod is gone.
var client = &http.Client{
	Timeout: 15 * time.Second,
	Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	},
}

// Answer is an HTTP response, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

func (a Answer) String() string { return fmt.Sprintf("%d %.300q", a.Status, a.Body) }

// JSON decodes the body, or ends the test.
func (a Answer) JSON(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), into); err != nil {
		t.Fatalf("not the JSON expected: %v: %v", a, err)
	}
}

// URL is a path of the app by the cluster's DNS name of its Service.
func (a *App) URL(path string) string {
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:9898%s", Name, a.Namespace, path)
}

// PodURL is a path of one pod, past the Service.
func PodURL(pod *corev1.Pod, path string) string {
	return "http://" + net.JoinHostPort(pod.Status.PodIP, "9898") + path
}

// Try does one request; headers are "Name: value".
func Try(ctx context.Context, method, url, body string, headers ...string) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	return Answer{response.StatusCode, response.Header, string(text)}, err
}

// Do is Try for a request that has to be answered with the status want.
func Do(t testing.TB, want int, method, url, body string, headers ...string) Answer {
	t.Helper()
	answer, err := Try(t.Context(), method, url, body, headers...)
	Must(t, err, "%s %s", method, url)
	if answer.Status != want {
		t.Fatalf("%s %s: want status %d, got %v", method, url, want, answer)
	}
	return answer
}

// Info is what podinfo tells about itself at /api/info.
type Info struct {
	Hostname, Version, Revision, Color, Message, GOOS, GOARCH, Runtime string
}

// WaitAnswers waits until 30 answers of the Service in a row are as wanted. A
// pod that the Service no longer lists may still be asked for a moment: the
// rules on the node follow its endpoints.
func (a *App) WaitAnswers(t testing.TB, within time.Duration, what string, wanted func(Info) bool) {
	t.Helper()
	Eventually(t, within, "30 answers in a row "+what, func(ctx context.Context) (bool, any) {
		for n := range 30 {
			answer, err := Try(ctx, "GET", a.URL("/api/info"), "")
			if err != nil {
				return false, err.Error()
			}
			var info Info
			if answer.JSON(t, &info); !wanted(info) {
				return false, fmt.Sprintf("answer %d: %+v", n+1, info)
			}
		}
		return true, nil
	})
}

// Traffic is a stream of requests that goes on beside the test.
type Traffic struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	answered int
	hosts    map[string]int
	failures []string
}

// StartTraffic sends requests for /api/info through the Service, one every
// 20 ms, until Stop.
func (a *App) StartTraffic(t testing.TB) *Traffic {
	ctx, cancel := context.WithCancel(t.Context())
	traffic := &Traffic{stop: cancel, hosts: map[string]int{}}
	url := a.URL("/api/info")
	traffic.done.Go(func() {
		ticks := time.NewTicker(20 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				// Requests overlap: one that hangs must not hide those after it.
				traffic.done.Go(func() { traffic.once(url) })
			}
		}
	})
	return traffic
}

func (f *Traffic) once(url string) {
	// Not the stream's context: what was sent before Stop is waited for.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	start := time.Now()
	answer, err := Try(ctx, "GET", url, "")
	var info Info
	if err == nil && answer.Status == http.StatusOK {
		err = json.Unmarshal([]byte(answer.Body), &info)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || answer.Status != http.StatusOK {
		f.failures = append(f.failures, fmt.Sprintf("%s after %v: %v %v", start.Format("15:04:05.000"), time.Since(start).Round(time.Millisecond), answer, err))
		return
	}
	f.answered++
	f.hosts[info.Hostname]++
}

// Answered is how many requests were answered so far.
func (f *Traffic) Answered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered
}

// Host is how many of them the pod name answered.
func (f *Traffic) Host(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[name]
}

// Stop ends the stream and tells how many requests were answered, and how each
// of the others failed.
func (f *Traffic) Stop() (answered int, failures []string) {
	f.stop()
	f.done.Wait()
	return f.answered, f.failures
}
