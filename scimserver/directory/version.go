package directory

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition decides, by the version of what is stored, whether a change may be made (RFC 7644 section 3.14). The version
// that it is asked about is the one that the change is made to: the API server compares again.
type Condition func(version string) error

// version is meta.version, a strong ETag: what clients can write counts, and the controller's status does not. The
// beginning of the UID keeps versions apart of an object that was restored from a backup, whose generations start again.
func version(object metav1.Object) string {
	uid, _, _ := strings.Cut(string(object.GetUID()), "-")
	return `"` + uid + "-" + strconv.FormatInt(object.GetGeneration(), 10) + `"`
}

func check(object metav1.Object, conditions []Condition) error {
	for _, condition := range conditions {
		if condition == nil {
			continue
		}
		if err := condition(version(object)); err != nil {
			return err
		}
	}
	return nil
}
