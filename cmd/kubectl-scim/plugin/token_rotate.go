package plugin

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// askForRotation has the controller make the next token of a ScimToken with spec.rotation, and waits for it. Nothing of the
// specification changes. It fails while the former token is accepted, since the client may use that one still.
func (t tokenCommands) askForRotation(ctx context.Context, f *tokenFlags, token *v1alpha1.ScimToken) error {
	rotation := token.Status.Rotation
	switch {
	case f.name != "" || f.expiresIn != 0 || f.overlapSet:
		return fmt.Errorf("ScimToken %s has spec.rotation, which says how long tokens overlap, and names and ends none: leave --name, --overlap and --expires-in out", token.Name)
	case f.output.format == formatYAML:
		return fmt.Errorf("ScimToken %s has spec.rotation: the controller makes its next token, and nothing changes in Git. Leave -o yaml out", token.Name)
	case token.Spec.Suspended:
		return fmt.Errorf("ScimToken %s is suspended, and no token is made for it", token.Name)
	case rotation == nil:
		accepted := conditionOf(token.Status.Conditions, v1alpha1.ConditionAccepted)
		return fmt.Errorf("no token was made for ScimToken %s yet: %s", token.Name, cmp.Or(accepted.Message, "the controller has not looked at it"))
	case rotation.Former != nil && time.Now().Before(rotation.Former.Until.Time):
		return fmt.Errorf("ScimToken %s is being rotated: put the token of Secret %s into the client. The former one is accepted until %s, and the next one can be asked for then",
			token.Name, rotation.SecretName, until(&rotation.Former.Until))
	}
	before, serial := token.DeepCopy(), rotation.Serial
	if token.Annotations == nil {
		token.Annotations = map[string]string{}
	}
	token.Annotations[v1alpha1.AnnotationRotateToken] = time.Now().UTC().Format(time.RFC3339Nano)
	if err := t.client.Patch(ctx, token, client.MergeFrom(before)); err != nil {
		return err
	}
	t.note("The controller is asked for the next token of ScimToken %s.", token.Name)
	if f.wait <= 0 {
		return nil
	}
	made, err := t.await(ctx, token, f.wait, func() bool { return token.Status.Rotation != nil && token.Status.Rotation.Serial > serial })
	if err != nil {
		return err
	}
	if !made {
		accepted := conditionOf(token.Status.Conditions, v1alpha1.ConditionAccepted)
		t.note("It has not made one within %s. ScimToken %s: %s", f.wait, token.Name, accepted.Message)
		return errNo
	}
	rotation = token.Status.Rotation
	t.note("Put the token of this Secret into the client:")
	t.say("%s", rotation.SecretName)
	t.note("Read it with: kubectl -n %s get secret %s -o jsonpath='{.data.token}' | base64 -d", token.Namespace, rotation.SecretName)
	if rotation.Former != nil {
		t.note("The former token (token ID %s) opens the App until %s.", rotation.Former.TokenID, until(&rotation.Former.Until))
	}
	return nil
}
