package reference

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// CopyStore starts a second store in a namespace, from the installed one, and
// waits until it is ready and its Service answers: the rules on the node follow
// a pod's readiness by a moment.
func CopyStore(t testing.TB, namespace string, change ...func(*appsv1.StatefulSet)) {
	t.Helper()
	sets := Connect(t).AppsV1().StatefulSets
	set, err := sets(Installed).Get(t.Context(), "store", metav1.GetOptions{})
	Must(t, err, "read the installed store")
	set.ObjectMeta = metav1.ObjectMeta{Name: "store", Labels: set.Labels}
	set.Status = appsv1.StatefulSetStatus{}
	for i := range set.Spec.VolumeClaimTemplates {
		set.Spec.VolumeClaimTemplates[i].Status = corev1.PersistentVolumeClaimStatus{}
	}
	for _, apply := range change {
		apply(set)
	}
	copyService(t, namespace, "store")
	copyService(t, namespace, "stores")
	_, err = sets(namespace).Create(t.Context(), set, metav1.CreateOptions{})
	Must(t, err, "create the copy of store")
	WaitStore(t, namespace)
	WaitStatus(t, 200, "GET", "http://store."+namespace+".svc.cluster.local:8080/")
}

// WaitStore waits until a store has the replicas that it asks for.
func WaitStore(t testing.TB, namespace string) {
	t.Helper()
	Until(t, Connect(t).AppsV1().StatefulSets(namespace), Named("store"), 40*time.Second, "the store to be ready",
		func(list *appsv1.StatefulSetList) (bool, any) {
			if len(list.Items) == 0 {
				return false, "no StatefulSet"
			}
			set := &list.Items[0]
			want := *set.Spec.Replicas
			status := set.Status
			return status.ObservedGeneration >= set.Generation && status.Replicas == want && status.AvailableReplicas == want &&
				status.UpdatedReplicas == want && status.CurrentRevision == status.UpdateRevision, status
		})
}

// ScaleStore sets how many pods a store has, and waits for them.
func ScaleStore(t testing.TB, namespace string, replicas int32) {
	t.Helper()
	UpdateStore(t, namespace, func(s *appsv1.StatefulSet) { s.Spec.Replicas = &replicas })
	WaitStore(t, namespace)
}

// UpdateStore changes a copy of store.
func UpdateStore(t testing.TB, namespace string, change func(*appsv1.StatefulSet)) {
	t.Helper()
	sets := Connect(t).AppsV1().StatefulSets(namespace)
	Must(t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		set, err := sets.Get(t.Context(), "store", metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(set)
		_, err = sets.Update(t.Context(), set, metav1.UpdateOptions{})
		return err
	}), "update the store")
}

// CopyFront starts a second front in a namespace, from the installed one, and
// waits until it is rolled out and answers. It speaks to the installed store
// unless a change says otherwise.
func CopyFront(t testing.TB, namespace string, change ...func(*appsv1.Deployment)) {
	t.Helper()
	CopyFrontUnready(t, namespace, change...)
	WaitRolledOut(t, namespace, "front")
	WaitStatus(t, 200, "GET", Front(namespace, "/"))
}

// CopyFrontUnready is CopyFront for one that is not expected to become ready.
func CopyFrontUnready(t testing.TB, namespace string, change ...func(*appsv1.Deployment)) {
	t.Helper()
	cluster, ctx := Connect(t), t.Context()
	copyAccount(t, namespace, "front")
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "front"}, Data: Config(t)}
	_, err := cluster.CoreV1().ConfigMaps(namespace).Create(ctx, config, metav1.CreateOptions{})
	Must(t, err, "create the copy's configuration")
	CreateDeployment(t, namespace, FrontDeployment(t, append([]func(*appsv1.Deployment){Env("STORE_URL", "http://store."+Installed+":8080")}, change...)...))
	copyService(t, namespace, "front")
}

// OwnStore makes a copy of front or leader speak to the store of its namespace.
var OwnStore = Env("STORE_URL", "http://store:8080")

// FrontDeployment is the installed front's Deployment, changed, to be created elsewhere.
func FrontDeployment(t testing.TB, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	t.Helper()
	return installedDeployment(t, "front", change...)
}

// CreateDeployment creates a Deployment.
func CreateDeployment(t testing.TB, namespace string, deployment *appsv1.Deployment) {
	t.Helper()
	_, err := Connect(t).AppsV1().Deployments(namespace).Create(t.Context(), deployment, metav1.CreateOptions{})
	Must(t, err, "create Deployment %s", deployment.Name)
}

// CopyLeader starts a second leader in a namespace that delivers only the
// Shipments of a class of that name, and waits until it is rolled out.
func CopyLeader(t testing.TB, namespace string, change ...func(*appsv1.Deployment)) {
	t.Helper()
	cluster, ctx := Connect(t), t.Context()
	copyAccount(t, namespace, "leader")
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reference-leader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reference-leader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "leader", Namespace: namespace}},
	}
	_, err := cluster.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{})
	Must(t, err, "let the copy of leader read Shipments")
	// Its finalizers would outlive it.
	Cleanup(t, "take Shipments away", func(ctx context.Context) error { return dropShipments(ctx, cluster, namespace) })
	changes := []func(*appsv1.Deployment){
		Env("STORE_URL", "http://store."+Installed+":8080"), Env("CLASS", namespace), Env("WATCH_NAMESPACE", namespace),
	}
	CreateDeployment(t, namespace, installedDeployment(t, "leader", append(changes, change...)...))
	WaitRolledOut(t, namespace, "leader")
}

func dropShipments(ctx context.Context, cluster *Cluster, namespace string) error {
	// Stop the leader first, or it puts its finalizer back.
	if err := cluster.AppsV1().Deployments(namespace).Delete(ctx, "leader", metav1.DeleteOptions{}); err != nil {
		return err
	}
	shipments := cluster.Dynamic.Resource(Shipments).Namespace(namespace)
	if err := shipments.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return err
	}
	left, err := shipments.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, shipment := range left.Items {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		// It may go by itself meanwhile.
		shipments.Patch(ctx, shipment.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	return nil
}

func installedDeployment(t testing.TB, name string, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	t.Helper()
	deployment, err := Connect(t).AppsV1().Deployments(Installed).Get(t.Context(), name, metav1.GetOptions{})
	Must(t, err, "read the installed %s", name)
	deployment.ObjectMeta = metav1.ObjectMeta{Name: name, Labels: deployment.Labels}
	deployment.Status = appsv1.DeploymentStatus{}
	for _, apply := range change {
		apply(deployment)
	}
	return deployment
}

// copyAccount copies a service account and what it may do in its namespace.
func copyAccount(t testing.TB, namespace, name string) {
	t.Helper()
	cluster, ctx := Connect(t), t.Context()
	_, err := cluster.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	Must(t, err, "create service account %s", name)
	role, err := cluster.RbacV1().Roles(Installed).Get(ctx, name, metav1.GetOptions{})
	Must(t, err, "read the installed role %s", name)
	role.ObjectMeta = metav1.ObjectMeta{Name: name}
	_, err = cluster.RbacV1().Roles(namespace).Create(ctx, role, metav1.CreateOptions{})
	Must(t, err, "create role %s", name)
	_, err = cluster.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: namespace}},
	}, metav1.CreateOptions{})
	Must(t, err, "bind role %s", name)
}

func copyService(t testing.TB, namespace, name string) {
	t.Helper()
	services := Connect(t).CoreV1().Services
	installed, err := services(Installed).Get(t.Context(), name, metav1.GetOptions{})
	Must(t, err, "read the installed Service %s", name)
	made := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	made.Spec.Ports, made.Spec.Selector = installed.Spec.Ports, installed.Spec.Selector
	if installed.Spec.ClusterIP == corev1.ClusterIPNone {
		made.Spec.ClusterIP = corev1.ClusterIPNone
	}
	_, err = services(namespace).Create(t.Context(), made, metav1.CreateOptions{})
	Must(t, err, "create Service %s", name)
}

// Update changes a copy's Deployment.
func Update(t testing.TB, namespace, name string, change ...func(*appsv1.Deployment)) {
	t.Helper()
	deployments := Connect(t).AppsV1().Deployments(namespace)
	Must(t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		deployment, err := deployments.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, apply := range change {
			apply(deployment)
		}
		_, err = deployments.Update(t.Context(), deployment, metav1.UpdateOptions{})
		return err
	}), "update Deployment %s", name)
}

// Replicas sets how many pods a copy has.
func Replicas(n int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Replicas = &n }
}

// Renamed gives a copy another name, so that two stand beside each other: its
// pods have the label colour too.
func Renamed(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Name = name
		d.Spec.Selector.MatchLabels["colour"] = name
		d.Spec.Template.Labels["colour"] = name
		Env("VARIANT", name)(d)
	}
}

// Quick makes the probes of a copy quick: for tests that are about them.
func Quick(d *appsv1.Deployment) {
	for _, probe := range []*corev1.Probe{Container(d).ReadinessProbe, Container(d).LivenessProbe} {
		probe.PeriodSeconds, probe.FailureThreshold = 1, 2
	}
}

// Env sets an environment variable.
func Env(name, value string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		container := Container(d)
		for i := range container.Env {
			if container.Env[i].Name == name {
				container.Env[i].Value = value
				return
			}
		}
		container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

// Container is the container of a Deployment.
func Container(d *appsv1.Deployment) *corev1.Container {
	return &d.Spec.Template.Spec.Containers[0]
}

// FrontPod is a pod that runs front with other arguments.
func FrontPod(t testing.TB, args ...string) corev1.PodSpec {
	t.Helper()
	image := Container(FrontDeployment(t)).Image
	return corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "main", Image: image, Args: args}},
	}
}
