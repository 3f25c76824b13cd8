package harness

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Row is one line of what `kubectl get` prints, by column title.
type Row map[string]string

// Table asks the API server to render a list as kubectl does, and returns the titles of the columns that kubectl shows
// without -o wide, in order, and the row of one object.
func (h *Harness) Table(t testing.TB, resource, namespace, name string) (titles []string, row Row) {
	t.Helper()
	path := fmt.Sprintf("/apis/scim-operator.io/v1alpha1/namespaces/%s/%s", namespace, resource)
	raw, err := h.Clientset.CoreV1().RESTClient().Get().AbsPath(path).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(raw, table); err != nil {
		t.Fatal(err)
	}
	for _, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			titles = append(titles, strings.ToUpper(column.Name))
		}
	}
	for _, candidate := range table.Rows {
		if len(candidate.Cells) != len(table.ColumnDefinitions) || candidate.Cells[0] != name {
			continue
		}
		row = Row{}
		for i, column := range table.ColumnDefinitions {
			if cell := candidate.Cells[i]; cell != nil {
				row[strings.ToUpper(column.Name)] = fmt.Sprint(cell)
			}
		}
		return titles, row
	}
	t.Fatalf("no %s %s/%s among the %d rows of the table", resource, namespace, name, len(table.Rows))
	return nil, nil
}

// NothingLargerThan fails the test where an object of the operator's kinds in the App's namespace has more bytes, as JSON.
func (h *Harness) NothingLargerThan(t testing.TB, app App, limit int) {
	t.Helper()
	for _, resource := range []string{"apps", "users", "groups", "membershards", "nameclaims", "scimtokens", "approlebindings"} {
		path := fmt.Sprintf("/apis/scim-operator.io/v1alpha1/namespaces/%s/%s", app.Namespace, resource)
		raw, err := h.Clientset.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			if len(item) > limit {
				t.Errorf("one of %d %s has %d bytes, more than %d: %.200s", len(list.Items), resource, len(item), limit, item)
			}
		}
	}
}
