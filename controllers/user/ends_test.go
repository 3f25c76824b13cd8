package user

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}

// Users come due in the order of their ends, each once, by the last end that was set.
func TestEndsDue(t *testing.T) {
	now := time.Now()
	var e ends
	for i, minutes := range []int{5, 3, 4, 1, 2} {
		e.set(named(fmt.Sprint(i)), now.Add(time.Duration(minutes)*time.Minute))
	}
	e.set(named("0"), now.Add(30*time.Second)) // earlier
	e.set(named("3"), now.Add(time.Hour))      // later
	e.forget(named("2"))
	e.forget(named("unknown"))
	for _, step := range []struct {
		after time.Duration
		users []string
		wait  time.Duration
	}{
		{0, nil, 30 * time.Second},
		{30*time.Second - time.Nanosecond, nil, time.Nanosecond},
		{30 * time.Second, []string{"0"}, time.Minute},
		{3 * time.Minute, []string{"4", "1"}, time.Minute},
		{59*time.Minute + 30*time.Second, nil, 30 * time.Second},
		{2 * time.Hour, []string{"3"}, time.Minute},
		{3 * time.Hour, nil, time.Minute},
	} {
		users, wait, _ := e.due(now.Add(step.after))
		var got []string
		for _, user := range users {
			got = append(got, user.Name)
		}
		if !slices.Equal(got, step.users) || wait != step.wait {
			t.Errorf("after %s: %v, then wait %s; want %v and %s", step.after, got, wait, step.users, step.wait)
		}
	}
}

// An end that is set while run sleeps for a later one is not missed.
func TestEndsWake(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var e ends
	e.set(named("later"), time.Now().Add(time.Hour))
	woken, ended := make(chan types.NamespacedName, 8), make(chan error, 1)
	go func() {
		ended <- e.run(ctx, func(users ...types.NamespacedName) {
			for _, user := range users {
				woken <- user
			}
		})
	}()
	for i := range 3 {
		time.Sleep(5 * time.Millisecond) // run sleeps again
		at := time.Now().Add(20 * time.Millisecond)
		e.set(named(fmt.Sprint(i)), at)
		select {
		case user := <-woken:
			if early := time.Until(at); user != named(fmt.Sprint(i)) || early > 0 {
				t.Errorf("%s was woken %s early", user, early)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was woken")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
