package operations

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	. "seatrial.invalid/reference/e2e/internal/reference"
)

func TestQuotaHoldsBackPods(t *testing.T) {
	namespace := NewNamespace(t)
	quotas := Connect(t).CoreV1().ResourceQuotas(namespace)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}, metav1.CreateOptions{})
	Must(t, err, "create the quota")
	Until(t, quotas, Named("pods"), 10*time.Second, "the quota to count", func(list *corev1.ResourceQuotaList) (bool, any) {
		return len(list.Items[0].Status.Hard) > 0, list.Items[0].Status
	})
	CopyFrontUnready(t, namespace)
	WaitDeployment(t, namespace, "front", 20*time.Second, "a failure to be told", func(d *appsv1.Deployment) bool {
		for _, condition := range d.Status.Conditions {
			if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
				return contains(condition.Message, "exceeded quota")
			}
		}
		return false
	})
	_, err = quotas.Patch(t.Context(), "pods", types.MergePatchType, []byte(`{"spec":{"hard":{"pods":"5"}}}`), metav1.PatchOptions{})
	Must(t, err, "raise the quota")
	Until(t, quotas, Named("pods"), 10*time.Second, "the quota to be raised", func(list *corev1.ResourceQuotaList) (bool, any) {
		return list.Items[0].Status.Hard.Pods().Value() == 5, list.Items[0].Status
	})
	// Its controller tries again later and later; a change makes it try now.
	Update(t, namespace, "front", Replicas(3))
	WaitRolledOut(t, namespace, "front")
}

func TestAccountsMayDoWhatTheyNeed(t *testing.T) {
	for name, want := range map[string]struct {
		account, verb, group, resource string
		allowed                        bool
	}{
		"leader delivers":              {"leader", "patch", "reference.test", "shipments", true},
		"leader makes no Shipments":    {"leader", "create", "reference.test", "shipments", false},
		"leader reads no Secrets":      {"leader", "get", "", "secrets", false},
		"front reads its certificate":  {"front", "watch", "", "secrets", true},
		"front changes nothing":        {"front", "update", "", "configmaps", false},
		"front knows no Shipments":     {"front", "list", "reference.test", "shipments", false},
		"other accounts get no Secret": {"default", "get", "", "secrets", false},
	} {
		t.Run(name, func(t *testing.T) {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:               "system:serviceaccount:" + Installed + ":" + want.account,
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: Installed, Verb: want.verb, Group: want.group, Resource: want.resource},
			}}
			answer, err := Connect(t).AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			Must(t, err, "ask")
			if answer.Status.Allowed != want.allowed {
				t.Errorf("allowed: %v", answer.Status.Allowed)
			}
		})
	}
}

func TestDeletingADeploymentTakesItsPods(t *testing.T) {
	namespace := NewNamespace(t)
	CopyFront(t, namespace, Env("DRAIN", "0s"))
	policy := metav1.DeletePropagationForeground
	deployments := Connect(t).AppsV1().Deployments(namespace)
	Must(t, deployments.Delete(t.Context(), "front", metav1.DeleteOptions{PropagationPolicy: &policy}), "delete the Deployment")
	Until(t, deployments, Named("front"), 30*time.Second, "the Deployment to be gone", func(list *appsv1.DeploymentList) (bool, any) {
		return len(list.Items) == 0, list.Items
	})
	if pods := Pods(t, namespace, "front"); len(pods) != 0 {
		t.Errorf("the Deployment went before %d of its pods", len(pods))
	}
}
