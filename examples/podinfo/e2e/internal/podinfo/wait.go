package podinfo

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// list is what a list of any Kubernetes type can do.
type list interface{ GetResourceVersion() string }

// lister is the part of a typed client that a wait needs.
type lister[L list] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// Until waits until done says so of the objects that match, looking again at
// each change of one of them. It ends the test after within, with the state
// that done reported last.
func Until[L list](t testing.TB, client lister[L], options metav1.ListOptions, within time.Duration, what string, done func(L) (bool, any)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last any = "nothing seen yet"
	for {
		objects, err := client.List(ctx, options)
		if err == nil {
			var ok bool
			if ok, last = done(objects); ok {
				return
			}
			err = nextChange(ctx, client, options, objects.GetResourceVersion())
		}
		if ctx.Err() != nil {
			t.Fatalf("waited %v for %s; last state: %s", within, what, show(last))
		}
		Must(t, err, "wait for %s", what)
	}
}

func nextChange[L list](ctx context.Context, client lister[L], options metav1.ListOptions, version string) error {
	options.ResourceVersion = version
	changes, err := client.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer changes.Stop()
	select {
	case <-ctx.Done():
	case <-changes.ResultChan(): // also when the watch ends: the caller lists again
	}
	return nil
}

// Eventually waits for what no watch can tell, such as an answer over HTTP, by
// trying again every 50 ms. It ends the test after within, with the last state.
func Eventually(t testing.TB, within time.Duration, what string, done func(context.Context) (bool, any)) {
	t.Helper()
	var last any
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, within, true, func(ctx context.Context) (bool, error) {
		var ok bool
		ok, last = done(ctx)
		return ok, nil
	})
	if err != nil {
		t.Fatalf("waited %v for %s; last state: %s", within, what, show(last))
	}
}

// Named selects one object.
func Named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
}

// PodsOf selects podinfo's pods in its namespace.
var PodsOf = metav1.ListOptions{LabelSelector: "app=podinfo"}

// WaitDeployment waits for a state of the app's Deployment.
func (a *App) WaitDeployment(t testing.TB, within time.Duration, what string, done func(*appsv1.Deployment) bool) {
	t.Helper()
	Until(t, a.Cluster.AppsV1().Deployments(a.Namespace), Named(Name), within, what,
		func(list *appsv1.DeploymentList) (bool, any) {
			if len(list.Items) == 0 {
				return false, "no Deployment " + Name
			}
			deployment := &list.Items[0]
			return done(deployment), deployment.Status
		})
}

// RolledOut says whether all that a Deployment asks for runs, and nothing older.
func RolledOut(d *appsv1.Deployment) bool {
	want := *d.Spec.Replicas
	return d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == want &&
		d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want
}

// WaitRolledOut waits until the Deployment is rolled out, its Service has one
// endpoint for each replica, and the Service answers.
func (a *App) WaitRolledOut(t testing.TB, within time.Duration) {
	t.Helper()
	var want int
	a.WaitDeployment(t, within, "the roll-out of podinfo", func(d *appsv1.Deployment) bool {
		want = int(*d.Spec.Replicas)
		return RolledOut(d)
	})
	a.WaitEndpoints(t, 10*time.Second, want)
	if want == 0 {
		return
	}
	// Rules for a new Service reach the node a little after its endpoints are known.
	Eventually(t, 15*time.Second, "an answer of "+a.URL("/healthz"), func(ctx context.Context) (bool, any) {
		answer, err := Try(ctx, "GET", a.URL("/healthz"), "")
		return err == nil && answer.Status == 200, fmt.Sprint(answer, err)
	})
}

// WaitEndpoints waits until the Service sends traffic to exactly n pods, and
// returns their names.
func (a *App) WaitEndpoints(t testing.TB, within time.Duration, n int) []string {
	t.Helper()
	var names []string
	Until(t, a.Cluster.DiscoveryV1().EndpointSlices(a.Namespace), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + Name},
		within, fmt.Sprintf("%d ready endpoints", n),
		func(list *discoveryv1.EndpointSliceList) (bool, any) {
			names = nil
			for _, slice := range list.Items {
				for _, endpoint := range slice.Endpoints {
					if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
						names = append(names, endpoint.TargetRef.Name)
					}
				}
			}
			return len(names) == n, names
		})
	return names
}

// Pods are podinfo's pods that are not on their way out.
func (a *App) Pods(t testing.TB) []corev1.Pod {
	t.Helper()
	list, err := a.Cluster.CoreV1().Pods(a.Namespace).List(t.Context(), PodsOf)
	Must(t, err, "list pods of %s", a.Namespace)
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// Pod is one of podinfo's ready pods.
func (a *App) Pod(t testing.TB) *corev1.Pod {
	t.Helper()
	for _, pod := range a.Pods(t) {
		if Ready(&pod) {
			return &pod
		}
	}
	t.Fatalf("no ready pod in %s", a.Namespace)
	return nil
}

// WaitPod waits for a state of one pod.
func (a *App) WaitPod(t testing.TB, name string, within time.Duration, what string, done func(*corev1.Pod) bool) {
	t.Helper()
	Until(t, a.Cluster.CoreV1().Pods(a.Namespace), Named(name), within, what,
		func(list *corev1.PodList) (bool, any) {
			if len(list.Items) == 0 {
				return false, "no pod " + name
			}
			return done(&list.Items[0]), list.Items[0].Status
		})
}

// Ready is the pod's Ready condition.
func Ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
