package product

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/retry"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

// item is where the installed store has what a Shipment says.
func item(namespace, name string) string { return Front(Installed, "/items/"+namespace+"/"+name) }

func patch(t *testing.T, namespace, name, text string) (*unstructured.Unstructured, error) {
	return ShipmentsIn(t, namespace).Patch(t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
}

func remove(t *testing.T, namespace, name string) {
	t.Helper()
	Must(t, ShipmentsIn(t, namespace).Delete(t.Context(), name, metav1.DeleteOptions{}), "delete Shipment %s", name)
}

func TestShipmentIsDelivered(t *testing.T) {
	namespace := NewNamespace(t)
	Ship(t, namespace, "a", map[string]any{"message": cargo, "count": int64(3)})
	shipment := WaitDelivered(t, namespace, "a")
	t.Run("into the store", func(t *testing.T) {
		if got, want := Do(t, 200, "GET", item(namespace, "a"), "").Body, strings.Repeat(cargo+"\n", 3); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	})
	t.Run("with a receipt", func(t *testing.T) {
		receipt, err := Connect(t).CoreV1().ConfigMaps(namespace).Get(t.Context(), "shipment-a", metav1.GetOptions{})
		Must(t, err, "read the receipt")
		if len(receipt.OwnerReferences) != 1 || receipt.OwnerReferences[0].UID != shipment.GetUID() || receipt.Data["count"] != "3" {
			t.Errorf("owners %v, data %v", receipt.OwnerReferences, receipt.Data)
		}
	})
	t.Run("by a pod of leader", func(t *testing.T) {
		by := Status(shipment, "deliveredBy")
		for _, pod := range Pods(t, Installed, "leader") {
			if pod.Name == by {
				return
			}
		}
		t.Errorf("%q is none", by)
	})
}

func TestShipmentFollowsItsSpec(t *testing.T) {
	namespace := NewNamespace(t)
	Ship(t, namespace, "a", map[string]any{"message": "first"})
	WaitDelivered(t, namespace, "a")
	for n := range 5 {
		message := fmt.Sprint("change ", n)
		_, err := patch(t, namespace, "a", fmt.Sprintf(`{"spec":{"message":%q}}`, message))
		Must(t, err, "change the Shipment")
		WaitDelivered(t, namespace, "a")
		if got := Do(t, 200, "GET", item(namespace, "a"), "").Body; got != message+"\n" {
			t.Fatalf("want %q, got %q", message, got)
		}
	}
}

func TestShipmentsAreValidated(t *testing.T) {
	namespace := NewNamespace(t)
	for name, spec := range map[string]map[string]any{
		"no message":       {"count": int64(1)},
		"empty message":    {"message": ""},
		"long message":     {"message": strings.Repeat("x", 201)},
		"negative count":   {"message": "x", "count": int64(-1)},
		"count of text":    {"message": "x", "count": "3"},
		"unknown priority": {"message": "x", "priority": "urgent"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ShipmentsIn(t, namespace).Create(t.Context(), NewShipment("bad", spec), metav1.CreateOptions{})
			if !apierrors.IsInvalid(err) {
				t.Errorf("want it refused as invalid, got %v", err)
			}
		})
	}
	Ship(t, namespace, "good", map[string]any{"message": "x"})
	t.Run("class cannot change", func(t *testing.T) {
		if _, err := patch(t, namespace, "good", `{"spec":{"class":"other"}}`); !apierrors.IsInvalid(err) {
			t.Errorf("want it refused as invalid, got %v", err)
		}
	})
}

func TestDeletedShipmentLeavesNothing(t *testing.T) {
	namespace := NewNamespace(t)
	Ship(t, namespace, "a", map[string]any{"message": "x"})
	WaitDelivered(t, namespace, "a")
	remove(t, namespace, "a")
	WaitGone(t, namespace, "a")
	Do(t, 404, "GET", item(namespace, "a"), "") // before the Shipment was gone
	Until(t, Connect(t).CoreV1().ConfigMaps(namespace), Named("shipment-a"), 20*time.Second, "the receipt to be collected",
		func(list *corev1.ConfigMapList) (bool, any) { return len(list.Items) == 0, list.Items })
}

func TestFinalizerHoldsWhileTheStoreIsAway(t *testing.T) {
	namespace := NewNamespace(t)
	CopyStore(t, namespace)
	CopyLeader(t, namespace, Replicas(1), OwnStore)
	Ship(t, namespace, "a", map[string]any{"message": "x", "class": namespace})
	WaitDelivered(t, namespace, "a")
	ScaleStore(t, namespace, 0)
	remove(t, namespace, "a")
	pod := ReadyPod(t, namespace, "leader").Name
	Until(t, ShipmentsIn(t, namespace), Named("a"), 10*time.Second, "the Shipment to be on its way out",
		func(list *unstructured.UnstructuredList) (bool, any) {
			return len(list.Items) == 1 && list.Items[0].GetDeletionTimestamp() != nil, list.Items
		})
	WaitLog(t, namespace, pod, namespace+"/a: ")
	held, err := ShipmentsIn(t, namespace).Get(t.Context(), "a", metav1.GetOptions{})
	Must(t, err, "it has to be there still")
	if len(held.GetFinalizers()) != 1 {
		t.Errorf("finalizers: %v", held.GetFinalizers())
	}
	ScaleStore(t, namespace, 1)
	WaitGone(t, namespace, "a")
}

func TestDriftIsMended(t *testing.T) {
	namespace := NewNamespace(t)
	Ship(t, namespace, "a", map[string]any{"message": cargo})
	WaitDelivered(t, namespace, "a")
	receipts := Connect(t).CoreV1().ConfigMaps(namespace)
	mended := func(t *testing.T) {
		Until(t, receipts, Named("shipment-a"), 10*time.Second, "a receipt that says "+cargo,
			func(list *corev1.ConfigMapList) (bool, any) {
				return len(list.Items) == 1 && list.Items[0].Data["message"] == cargo, list.Items
			})
	}
	t.Run("changed", func(t *testing.T) {
		_, err := receipts.Patch(t.Context(), "shipment-a", types.MergePatchType, []byte(`{"data":{"message":"gold"}}`), metav1.PatchOptions{})
		Must(t, err, "change the receipt")
		mended(t)
	})
	t.Run("deleted", func(t *testing.T) {
		Must(t, receipts.Delete(t.Context(), "shipment-a", metav1.DeleteOptions{}), "delete the receipt")
		mended(t)
	})
}

func TestConflictingUpdatesAreRefused(t *testing.T) {
	namespace := NewNamespace(t)
	Ship(t, namespace, "a", map[string]any{"message": "x"})
	stale := WaitDelivered(t, namespace, "a")
	_, err := patch(t, namespace, "a", `{"spec":{"count":2}}`)
	Must(t, err, "change the Shipment")
	shipments := ShipmentsIn(t, namespace)
	unstructured.SetNestedField(stale.Object, int64(9), "spec", "count")
	if _, err := shipments.Update(t.Context(), stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of an old version: want a conflict, got %v", err)
	}
	Must(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		fresh, err := shipments.Get(t.Context(), "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		unstructured.SetNestedField(fresh.Object, int64(9), "spec", "count")
		_, err = shipments.Update(t.Context(), fresh, metav1.UpdateOptions{})
		return err
	}), "update the newest version")
	WaitDelivered(t, namespace, "a")
	t.Run("status is apart", func(t *testing.T) {
		got, err := patch(t, namespace, "a", `{"status":{"phase":"Lost"}}`)
		Must(t, err, "patch without the subresource")
		if Status(got, "phase") != "Delivered" {
			t.Errorf("the status was written past its subresource: %v", got.Object["status"])
		}
	})
}

func TestWatchTellsEveryChangeInOrder(t *testing.T) {
	namespace := NewNamespace(t)
	shipments := ShipmentsIn(t, namespace)
	start, err := shipments.List(t.Context(), metav1.ListOptions{})
	Must(t, err, "list")
	// Of a class that nobody delivers: all changes are the test's own.
	Ship(t, namespace, "a", map[string]any{"message": "x", "class": "nobody"})
	for n := 2; n <= 10; n++ {
		_, err := patch(t, namespace, "a", fmt.Sprintf(`{"spec":{"count":%d}}`, n))
		Must(t, err, "change %d", n)
	}
	remove(t, namespace, "a")
	changes, err := shipments.Watch(t.Context(), metav1.ListOptions{ResourceVersion: start.GetResourceVersion()})
	Must(t, err, "watch from before")
	defer changes.Stop()
	var got []string
	deadline := time.After(10 * time.Second)
	for len(got) < 11 {
		select {
		case event := <-changes.ResultChan():
			count, _, _ := unstructured.NestedInt64(event.Object.(*unstructured.Unstructured).Object, "spec", "count")
			got = append(got, fmt.Sprint(event.Type, count))
		case <-deadline:
			t.Fatalf("only %v", got)
		}
	}
	want := []string{fmt.Sprint(watch.Added, 1)}
	for n := 2; n <= 10; n++ {
		want = append(want, fmt.Sprint(watch.Modified, n))
	}
	if want = append(want, fmt.Sprint(watch.Deleted, 10)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestManyShipments(t *testing.T) {
	namespace := NewNamespace(t)
	const many = 30
	for n := range many {
		Ship(t, namespace, fmt.Sprint("s", n), map[string]any{"message": fmt.Sprint("number ", n)})
	}
	Until(t, ShipmentsIn(t, namespace), metav1.ListOptions{}, 20*time.Second, "all Shipments to be delivered",
		func(list *unstructured.UnstructuredList) (bool, any) {
			done := 0
			for _, shipment := range list.Items {
				if Delivered(&shipment) {
					done++
				}
			}
			return done == many, fmt.Sprintf("%d of %d", done, many)
		})
	var names []string
	Do(t, 200, "GET", Front(Installed, "/items/"+namespace), "").JSON(t, &names)
	if len(names) != many {
		t.Errorf("the store has %d items: %v", len(names), names)
	}
}
