package reference

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// list is what a list of any type can do.
type list interface{ GetResourceVersion() string }

// lister is the part of a client that a wait needs.
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
		if err != nil { // such as a version that is too old to be watched from
			last = err.Error()
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
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

// Labelled selects objects by the label app.
func Labelled(app string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: "app=" + app}
}

// WaitDeployment waits for a state of a Deployment.
func WaitDeployment(t testing.TB, namespace, name string, within time.Duration, what string, done func(*appsv1.Deployment) bool) {
	t.Helper()
	Until(t, Connect(t).AppsV1().Deployments(namespace), Named(name), within, what,
		func(list *appsv1.DeploymentList) (bool, any) {
			if len(list.Items) == 0 {
				return false, "no Deployment " + name
			}
			deployment := &list.Items[0]
			return done(deployment), deployment.Status
		})
}

// WaitRolledOut waits until all that a Deployment asks for runs, and nothing older.
func WaitRolledOut(t testing.TB, namespace, name string) {
	t.Helper()
	WaitDeployment(t, namespace, name, 40*time.Second, "the roll-out of "+name, func(d *appsv1.Deployment) bool {
		want := *d.Spec.Replicas
		return d.Status.ObservedGeneration >= d.Generation && d.Status.Replicas == want &&
			d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want
	})
}

// WaitEndpoints waits until a Service sends traffic to exactly n pods, and
// returns their names.
func WaitEndpoints(t testing.TB, namespace, service string, n int) []string {
	t.Helper()
	return WaitEndpointsBut(t, namespace, service, "", n)
}

// WaitEndpointsBut is WaitEndpoints where none of them may be a pod of this name.
func WaitEndpointsBut(t testing.TB, namespace, service, but string, n int) []string {
	t.Helper()
	var names []string
	Until(t, Connect(t).DiscoveryV1().EndpointSlices(namespace), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service},
		30*time.Second, fmt.Sprintf("%d ready endpoints of %s", n, service),
		func(list *discoveryv1.EndpointSliceList) (bool, any) {
			names = nil
			for _, slice := range list.Items {
				for _, endpoint := range slice.Endpoints {
					if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready && endpoint.TargetRef != nil {
						names = append(names, endpoint.TargetRef.Name)
					}
				}
			}
			return len(names) == n && !slices.Contains(names, but), names
		})
	return names
}

// Pods are the pods of an app that are not on their way out.
func Pods(t testing.TB, namespace, app string) []corev1.Pod {
	t.Helper()
	list, err := Connect(t).CoreV1().Pods(namespace).List(t.Context(), Labelled(app))
	Must(t, err, "list pods of %s", namespace)
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// ReadyPod is one of an app's ready pods.
func ReadyPod(t testing.TB, namespace, app string) *corev1.Pod {
	t.Helper()
	for _, pod := range Pods(t, namespace, app) {
		if Ready(&pod) {
			return &pod
		}
	}
	t.Fatalf("no ready pod of %s in %s", app, namespace)
	return nil
}

// WaitPod waits for a state of one pod, and returns it.
func WaitPod(t testing.TB, namespace, name string, what string, done func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	Until(t, Connect(t).CoreV1().Pods(namespace), Named(name), 30*time.Second, name+" "+what,
		func(list *corev1.PodList) (bool, any) {
			if len(list.Items) == 0 {
				return false, "no pod " + name
			}
			found = &list.Items[0]
			return done(found), found.Status
		})
	return found
}

// WaitPods waits for a state of all pods of an app, those on their way out included.
func WaitPods(t testing.TB, namespace, app, what string, done func([]corev1.Pod) bool) {
	t.Helper()
	Until(t, Connect(t).CoreV1().Pods(namespace), Labelled(app), 30*time.Second, what,
		func(list *corev1.PodList) (bool, any) {
			seen := map[string]corev1.PodPhase{}
			for _, pod := range list.Items {
				seen[pod.Name] = pod.Status.Phase
			}
			return done(list.Items), seen
		})
}

// WaitReplaced waits until an app has two ready pods without one that it had.
func WaitReplaced(t testing.TB, namespace, app string, gone *corev1.Pod) {
	t.Helper()
	WaitPods(t, namespace, app, "two ready pods without "+gone.Name, func(pods []corev1.Pod) bool {
		ready := 0
		for _, pod := range pods {
			if Ready(&pod) && pod.UID != gone.UID {
				ready++
			}
		}
		return ready == 2
	})
}

// Ready is a pod's Ready condition.
func Ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// WaitLog waits until a pod wrote something.
func WaitLog(t testing.TB, namespace, pod, what string) {
	t.Helper()
	Eventually(t, 10*time.Second, fmt.Sprintf("%q in the log of %s", what, pod), func(ctx context.Context) (bool, any) {
		logs, err := Connect(t).CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
		return err == nil && strings.Contains(string(logs), what), string(logs)
	})
}

// Collect keeps all changes that a watch tells, until stop is called, which gives them.
func Collect(changes watch.Interface) (stop func() []watch.Event) {
	var events []watch.Event
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range changes.ResultChan() {
			if event.Type != watch.Error { // the end of the connection, among others
				events = append(events, event)
			}
		}
	}()
	return func() []watch.Event {
		changes.Stop()
		<-done
		return events
	}
}
