package controllers

import (
	"context"
	"errors"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

// ErrLeaseLost is the error of a manager that led and does so no more. Another manager with caches of its own may begin in the
// same process: what the former one still sends is refused by its own Lock (see package leadership), for good.
var ErrLeaseLost = errors.New("leader election lost")

// electedManager tells the end of a term from other errors.
type electedManager struct{ manager.Manager }

// Start implements manager.Manager. It returns ErrLeaseLost where the manager led and was deposed.
func (m *electedManager) Start(ctx context.Context) error {
	err := m.Manager.Start(ctx)
	if err != nil && err.Error() == ErrLeaseLost.Error() { // controller-runtime has no variable for it
		return ErrLeaseLost
	}
	return err
}

var leader = telemetry.Gauge(telemetry.Controller, "leader", "Whether this process leads: it alone grants and revokes.").WithLabelValues()

// leading tells in metrics, and to the status page, that the manager leads. A manager runs it for as long as it does.
type leading struct{ now atomic.Bool }

// Start implements manager.Runnable.
func (l *leading) Start(ctx context.Context) error {
	l.now.Store(true)
	leader.Set(1)
	defer func() {
		leader.Set(0)
		l.now.Store(false)
	}()
	<-ctx.Done()
	return nil
}

// Kinds are those of this project that controllers read.
func Kinds() []string {
	return []string{"App", "AppRoleBinding", "Group", "MemberShard", "NameClaim", "RevocationList", "ScimToken", "User"}
}
