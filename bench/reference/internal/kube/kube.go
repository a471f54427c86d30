// Package kube is a small client of the cluster that a service runs in: enough
// to read, patch and follow objects, without a dependency.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// Client speaks to the API server as the pod's service account.
type Client struct {
	// Namespace is where the pod is.
	Namespace string
	base      string
	http      *http.Client
}

// InCluster makes a client from what every pod is given.
func InCluster() (*Client, error) {
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	namespace, err := os.ReadFile(account + "namespace")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &Client{
		Namespace: strings.TrimSpace(string(namespace)),
		base:      "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")),
		http:      &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 8}},
	}, nil
}

// StatusError is a refusal of the API server.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// IsCode tells whether err is a refusal with this status code.
func IsCode(err error, code int) bool {
	status, ok := err.(*StatusError)
	return ok && status.Code == code
}

// Content types of patches.
const (
	JSON       = "application/json"
	MergePatch = "application/merge-patch+json"
	ApplyPatch = "application/apply-patch+yaml"
)

// Do sends in, where there is one, and reads the answer into out, where it is wanted.
func (c *Client) Do(ctx context.Context, method, path, contentType string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	response, err := c.send(ctx, method, path, contentType, in)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	return json.NewDecoder(response.Body).Decode(out)
}

func (c *Client) send(ctx context.Context, method, path, contentType string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(account + "token") // it is renewed
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return nil, &StatusError{response.StatusCode, strings.TrimSpace(string(text))}
	}
	return response, nil
}

// Event is a change of an object: ADDED, MODIFIED or DELETED.
type Event struct {
	Type   string
	Object json.RawMessage
}

// Follow tells each of every object below path and of every later change, until
// ctx is over. When the connection ends it begins again: each may hear of an
// object twice. Failures are told to failed.
func (c *Client) Follow(ctx context.Context, path, query string, each func(Event), failed func(error)) {
	for ctx.Err() == nil {
		err := c.followOnce(ctx, path, query, each)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failed(err)
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}
}

func (c *Client) followOnce(ctx context.Context, path, query string, each func(Event)) error {
	var list struct {
		Metadata struct{ ResourceVersion string }
		Items    []json.RawMessage
	}
	if err := c.Do(ctx, "GET", path+"?"+query, JSON, nil, &list); err != nil {
		return err
	}
	each(Event{Type: "LISTED"})
	for _, item := range list.Items {
		each(Event{"ADDED", item})
	}
	watch := path + "?watch=1&resourceVersion=" + list.Metadata.ResourceVersion + "&" + query
	response, err := c.send(ctx, "GET", watch, JSON, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var event Event
		if err := decoder.Decode(&event); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if event.Type == "ERROR" { // too old: list again
			return nil
		}
		each(event)
	}
}
