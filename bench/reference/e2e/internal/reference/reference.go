// Package reference is what the two suites share: a client of the cluster, the
// installed product, copies of its parts that a test may break, and waits that
// end with the last state seen.
//
// Tests run in any order and beside each other. What is installed is only read,
// or used in a namespace of the test's own; whoever disturbs, disturbs a copy.
package reference

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Installed is the namespace of the installed product.
const Installed = "reference"

// Shipments is the product's resource.
var Shipments = schema.GroupVersionResource{Group: "reference.test", Version: "v1", Resource: "shipments"}

// Cluster is the cluster under test.
type Cluster struct {
	kubernetes.Interface
	Dynamic dynamic.Interface
	Config  *rest.Config
}

var connect = sync.OnceValues(func() (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	return &Cluster{client, objects, config}, err
})

// Connect makes a client from $KUBECONFIG.
func Connect(t testing.TB) *Cluster {
	t.Helper()
	cluster, err := connect()
	Must(t, err, "connect to the cluster of $KUBECONFIG")
	return cluster
}

// NewNamespace makes a namespace that is deleted when the test ends, ready for pods.
func NewNamespace(t testing.TB) string {
	t.Helper()
	cluster := Connect(t)
	made, err := cluster.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
	}, metav1.CreateOptions{})
	Must(t, err, "create a namespace")
	Cleanup(t, "delete namespace "+made.Name, func(ctx context.Context) error {
		return cluster.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{})
	})
	// Pods are refused until the controller-manager has made this.
	Until(t, cluster.CoreV1().ServiceAccounts(made.Name), metav1.ListOptions{}, 10*time.Second, "the default ServiceAccount",
		func(list *corev1.ServiceAccountList) (bool, any) { return len(list.Items) > 0, list.Items })
	return made.Name
}

// Cleanup does something when the test ends: its own context is over by then.
func Cleanup(t testing.TB, what string, do func(context.Context) error) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := do(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
}

// Config is the installed configuration of front, which differs by environment.
func Config(t testing.TB) map[string]string {
	t.Helper()
	object, err := Connect(t).CoreV1().ConfigMaps(Installed).Get(t.Context(), "front", metav1.GetOptions{})
	Must(t, err, "read the installed configuration")
	return object.Data
}

// Must ends the test when err is not nil.
func Must(t testing.TB, err error, what string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf(what+": %v", append(args, err)...)
	}
}

func show(state any) string {
	if text, ok := state.(string); ok {
		return text
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
