package directory

import (
	"encoding/json"
	"fmt"
)

// outgrows says whether what a spec keeps is larger than limit, as JSON, and than before, which may be nil. keeps says what
// counts. A spec that shrinks is always taken: a deactivation must never fail for the size of a profile.
func outgrows[S any](limit int, spec, before *S, keeps func(S) any) (bool, error) {
	size, err := sizeOf(keeps(*spec))
	if err != nil || size <= limit {
		return false, err
	}
	if before == nil {
		return true, nil
	}
	held, err := sizeOf(keeps(*before))
	return size > held, err
}

func sizeOf(kept any) (int, error) {
	body, err := json.Marshal(kept)
	if err != nil {
		return 0, fmt.Errorf("encode what the directory keeps: %w", err)
	}
	return len(body), nil
}
