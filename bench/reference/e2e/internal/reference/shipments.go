package reference

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
)

// ShipmentsIn is a client for the Shipments of a namespace.
func ShipmentsIn(t testing.TB, namespace string) dynamic.ResourceInterface {
	return Connect(t).Dynamic.Resource(Shipments).Namespace(namespace)
}

// NewShipment is a Shipment that is not created yet.
func NewShipment(name string, spec map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": runtime.DeepCopyJSON(spec)}}
	object.SetAPIVersion("reference.test/v1")
	object.SetKind("Shipment")
	object.SetName(name)
	return object
}

// Ship creates a Shipment.
func Ship(t testing.TB, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	t.Helper()
	made, err := ShipmentsIn(t, namespace).Create(t.Context(), NewShipment(name, spec), metav1.CreateOptions{})
	Must(t, err, "create Shipment %s", name)
	return made
}

// WaitShipment waits for a state of a Shipment, and returns it.
func WaitShipment(t testing.TB, namespace, name, what string, done func(*unstructured.Unstructured) bool) *unstructured.Unstructured {
	t.Helper()
	var found *unstructured.Unstructured
	Until(t, ShipmentsIn(t, namespace), Named(name), 20*time.Second, "Shipment "+name+" "+what,
		func(list *unstructured.UnstructuredList) (bool, any) {
			if len(list.Items) == 0 {
				return false, "no Shipment " + name
			}
			found = &list.Items[0]
			return done(found), found.Object["status"]
		})
	return found
}

// WaitDelivered waits until a Shipment, as it is by now, is delivered.
func WaitDelivered(t testing.TB, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	return WaitShipment(t, namespace, name, "to be delivered", Delivered)
}

// WaitGone waits until there is no such Shipment.
func WaitGone(t testing.TB, namespace, name string) {
	t.Helper()
	Until(t, ShipmentsIn(t, namespace), Named(name), 20*time.Second, "Shipment "+name+" to be gone",
		func(list *unstructured.UnstructuredList) (bool, any) { return len(list.Items) == 0, list.Items })
}

// Delivered tells whether what a Shipment says was delivered.
func Delivered(s *unstructured.Unstructured) bool {
	seen, _, _ := unstructured.NestedInt64(s.Object, "status", "observedGeneration")
	return seen == s.GetGeneration() && Status(s, "phase") == "Delivered"
}

// Status is a text in a Shipment's status.
func Status(s *unstructured.Unstructured, field string) string {
	text, _, _ := unstructured.NestedString(s.Object, "status", field)
	return text
}
