package reference

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Resolver asks the cluster's name server, wherever the tests run.
var Resolver = &net.Resolver{
	PreferGo: true,
	Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		server, err := nameServer()
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, server)
	},
}

var nameServer = sync.OnceValues(func() (string, error) {
	cluster, err := connect()
	if err != nil {
		return "", err
	}
	service, err := cluster.CoreV1().Services("kube-system").Get(context.Background(), "kube-dns", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(service.Spec.ClusterIP, "53"), nil
})

// Dialer opens connections to what the cluster's names stand for.
var Dialer = &net.Dialer{Timeout: 3 * time.Second, Resolver: Resolver}

// Each request opens a connection of its own: a Service chooses a pod by
// connection, and a kept one would hide that a pod is gone.
var client = &http.Client{
	Timeout:   10 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial},
}

// dial is Dialer with absolute names: else each lookup of one would be preceded
// by others, one for each search domain.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(host, ".cluster.local") {
		host += "."
	}
	return Dialer.DialContext(ctx, network, net.JoinHostPort(host, port))
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

// Front is a path of the front of a namespace, by the name of its Service.
func Front(namespace, path string) string {
	return "http://front." + namespace + ".svc.cluster.local" + path
}

// PodURL is a path of one pod, past the Service.
func PodURL(pod *corev1.Pod, path string) string {
	return "http://" + net.JoinHostPort(pod.Status.PodIP, "8080") + path
}

// Begin does one request up to the head of its response; headers are "Name: value".
func Begin(ctx context.Context, method, url, body string, headers ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	return client.Do(request)
}

// End reads a response to its end.
func End(response *http.Response) (Answer, error) {
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	return Answer{response.StatusCode, response.Header, string(text)}, err
}

// Try does one request; headers are "Name: value".
func Try(ctx context.Context, method, url, body string, headers ...string) (Answer, error) {
	response, err := Begin(ctx, method, url, body, headers...)
	if err != nil {
		return Answer{}, err
	}
	return End(response)
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

// WaitStatus waits until a request is answered with the status want.
func WaitStatus(t testing.TB, want int, method, url string) (answer Answer) {
	t.Helper()
	Eventually(t, 20*time.Second, fmt.Sprintf("%d of %s %s", want, method, url), func(ctx context.Context) (bool, any) {
		var err error
		answer, err = Try(ctx, method, url, "")
		return err == nil && answer.Status == want, fmt.Sprint(answer, err)
	})
	return answer
}

// About is what front and leader tell about themselves.
type About struct {
	Host, Release, Variant, Greeting, Problem string
	Cache, Leading                            bool
	Deliveries                                int
}

// Ask reads what front or leader tells about itself.
func Ask(ctx context.Context, url string) (about About, err error) {
	answer, err := Try(ctx, "GET", url, "")
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("%v", answer)
	}
	if err == nil {
		err = json.Unmarshal([]byte(answer.Body), &about)
	}
	return about, err
}

// WaitAnswers waits until 20 answers of a Service in a row are as wanted. A pod
// that the Service no longer lists may still be asked for a moment: the rules on
// the node follow its endpoints.
func WaitAnswers(t testing.TB, url, what string, wanted func(About) bool) {
	t.Helper()
	Eventually(t, 20*time.Second, "20 answers in a row "+what, func(ctx context.Context) (bool, any) {
		for n := range 20 {
			about, err := Ask(ctx, url)
			if err != nil {
				return false, err.Error()
			}
			if !wanted(about) {
				return false, fmt.Sprintf("answer %d: %+v", n+1, about)
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
	by       map[string]int
	failures []string
}

// StartTraffic asks a front every 20 ms what it is, until Stop.
func StartTraffic(t testing.TB, namespace string) *Traffic {
	ctx, cancel := context.WithCancel(t.Context())
	traffic := &Traffic{stop: cancel, by: map[string]int{}}
	traffic.done.Go(func() {
		ticks := time.NewTicker(20 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				// Requests overlap: one that hangs must not hide those after it.
				traffic.done.Go(func() { traffic.once(Front(namespace, "/")) })
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
	about, err := Ask(ctx, url)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failures = append(f.failures, fmt.Sprintf("%s after %v: %v", start.Format("15:04:05.000"), time.Since(start).Round(time.Millisecond), err))
		return
	}
	f.by[about.Variant]++
}

// Answered is how many requests pods of a variant answered so far.
func (f *Traffic) Answered(variant string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by[variant]
}

// Stop ends the stream and tells how each request went that was not answered.
func (f *Traffic) Stop() []string {
	f.stop()
	f.done.Wait()
	return f.failures
}
