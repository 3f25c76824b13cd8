// Package controllers puts the controllers together into one manager: what they share, what its cache holds, and in which
// order they are registered. The commands and the tests start from here; each controller is in a package of its own.
package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/app"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/controllers/group"
	"github.com/scim-operator/scim-operator/controllers/inventory"
	"github.com/scim-operator/scim-operator/controllers/oauthgrant"
	"github.com/scim-operator/scim-operator/controllers/policycheck"
	"github.com/scim-operator/scim-operator/controllers/removalguard"
	"github.com/scim-operator/scim-operator/controllers/residualaccess"
	"github.com/scim-operator/scim-operator/controllers/revocation"
	"github.com/scim-operator/scim-operator/controllers/scimtoken"
	"github.com/scim-operator/scim-operator/controllers/statuspage"
	"github.com/scim-operator/scim-operator/controllers/user"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/leadership"
	"github.com/scim-operator/scim-operator/internal/ownstatus"
	"github.com/scim-operator/scim-operator/internal/pace"
	"github.com/scim-operator/scim-operator/internal/probes"
	"github.com/scim-operator/scim-operator/internal/scheme"
)

const (
	// LeaderElectionID is the name of the Lease; config/rbac names it, too.
	LeaderElectionID = "scim-operator-controller"
	// DefaultOperatorNamespace is where config/ installs the operator.
	DefaultOperatorNamespace = "scim-operator-system"
	// fieldOwner of everything that the controllers write.
	fieldOwner = approlebinding.FieldOwner
	// shutdownTimeout is what running reconciles get to end.
	shutdownTimeout = 15 * time.Second
)

// Options of the manager.
type Options struct {
	Logger logr.Logger
	// Checks gets what the process's probes ask; nil for no probes.
	Checks *probes.Checks
	// Watches makes the caches, and knows which of them fail; nil for the manager's own.
	Watches *informers.Watches
	// Metrics server; see controller-runtime. The zero value has none: a process has one for all its managers.
	Metrics metricsserver.Options
	// LeaderElect has one process of many do the work, by a Lease in LeaderElectNamespace.
	LeaderElect          bool
	LeaderElectNamespace string
	// Namespaces with Apps that are served; empty for all. Bindings may be in any namespace all the same.
	Namespaces []string
	// OperatorNamespace holds the RevocationList; empty for DefaultOperatorNamespace.
	OperatorNamespace string
	// Status tells of the manager; nil for no page.
	Status *statuspage.Page
	// PolicyGrace is how long admission policies, or definitions, may be missing before Apps say so: see policycheck.Checker.
	PolicyGrace time.Duration
	// SkipNameValidation lets one process run several managers, as tests do.
	SkipNameValidation bool
}

// Events of every controller.
//
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch,roleName=scim-operator-controller

// NewManager returns a manager with every controller registered. ctx ends no later than the manager. It fails where the
// configuration makes no client, and where a controller cannot be registered.
func NewManager(ctx context.Context, restConfig *rest.Config, options Options) (manager.Manager, error) {
	kinds, err := scheme.New()
	if err != nil {
		return nil, err
	}
	options.Metrics.BindAddress = cmp.Or(options.Metrics.BindAddress, "0")
	options.OperatorNamespace = cmp.Or(options.OperatorNamespace, DefaultOperatorNamespace)
	restConfig = rest.CopyConfig(restConfig)
	restConfig.QPS = -1 // the API server's priority and fairness is the limit
	speed := pace.New()
	restConfig.Wrap(speed.Transport)
	lock := &leadership.Lock{Away: informers.Away, Log: options.Logger}
	// guarded has what this process writes refused as soon as another one may lead.
	guarded := func(httpClient *http.Client) *http.Client {
		if !options.LeaderElect {
			return httpClient
		}
		return lock.Client(httpClient)
	}
	watches := cmp.Or(options.Watches, NewWatches(options.Logger))
	managerOptions := managerOptions(options, lock, guarded)
	managerOptions.Scheme, managerOptions.NewCache = kinds, watches.NewCache
	mgr, err := manager.New(restConfig, managerOptions)
	if err != nil {
		return nil, err
	}
	if lock.Interface, err = leaderelection.NewResourceLock(mgr.GetConfig(), mgr, leaderelection.Options{
		LeaderElection: options.LeaderElect, LeaderElectionID: LeaderElectionID,
		LeaderElectionNamespace: options.LeaderElectNamespace, RenewDeadline: leadership.Term,
	}); err != nil {
		return nil, err
	}
	live, err := client.NewWithWatch(mgr.GetConfig(), client.Options{
		HTTPClient: guarded(mgr.GetHTTPClient()), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
	})
	if err != nil {
		return nil, err
	}
	sightings := claims.NewSightings(live, options.Logger.WithName("claims"))
	if err := addControllers(ctx, mgr, client.WithFieldOwner(ownstatus.Client(live), fieldOwner), sightings, fair.NewSpeed(speed), options); err != nil {
		return nil, err
	}
	if err := mgr.Add(&unreadableEvents{watches: watches, recorder: mgr.GetEventRecorder("scim-operator")}); err != nil {
		return nil, err
	}
	if options.Checks != nil {
		return &electedManager{mgr}, addChecks(mgr, options.Checks, func() bool { return !options.LeaderElect || lock.MayWrite() })
	}
	return &electedManager{mgr}, nil
}

// managerOptions returns the manager's options, but for what it reads and how. guarded makes the HTTP client of writes.
func managerOptions(options Options, lock *leadership.Lock, guarded func(*http.Client) *http.Client) manager.Options {
	shutdown := shutdownTimeout
	lease, renewal, retry := leadership.LeaseDuration, leadership.Term, leadership.RetryPeriod
	return manager.Options{
		Logger: options.Logger,
		Cache:  cacheOptions(options.Namespaces),
		NewClient: func(restConfig *rest.Config, clientOptions client.Options) (client.Client, error) {
			clientOptions.HTTPClient = guarded(clientOptions.HTTPClient)
			c, err := client.New(restConfig, clientOptions)
			if err != nil {
				return nil, err
			}
			return client.WithFieldOwner(ownstatus.Client(c), fieldOwner), nil
		},
		LeaderElection:                      options.LeaderElect,
		LeaderElectionID:                    LeaderElectionID,
		LeaderElectionResourceLockInterface: lock,
		LeaseDuration:                       &lease,
		RenewDeadline:                       &renewal,
		RetryPeriod:                         &retry,
		// The process ends with its manager, so that nothing is written after the Lease was given back.
		LeaderElectionReleaseOnCancel: true,
		HealthProbeBindAddress:        "0", // the process answers probes
		Metrics:                       options.Metrics,
		GracefulShutdownTimeout:       &shutdown,
		Controller: config.Controller{
			EnableWarmup:       new(true),
			SkipNameValidation: &options.SkipNameValidation,
		},
	}
}

// NewWatches returns what makes the caches of a process that reads Apps.
func NewWatches(log logr.Logger) *informers.Watches {
	return &informers.Watches{Log: log.WithName("informers"), Salvage: map[string]string{"App": v1alpha1.AnnotationUnreadable}}
}

// cacheOptions keep in memory no more than the controllers need: of bindings, this operator's; of Secrets, those that hold
// tokens; of no object the managed fields.
func cacheOptions(namespaces []string) cache.Options {
	var directories map[string]cache.Config
	if len(namespaces) > 0 {
		directories = map[string]cache.Config{}
		for _, namespace := range namespaces {
			directories[namespace] = cache.Config{}
		}
	}
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.App{}:              {Namespaces: directories},
			&v1alpha1.User{}:             {Namespaces: directories, Transform: compact},
			&v1alpha1.Group{}:            {Namespaces: directories},
			&v1alpha1.MemberShard{}:      {Namespaces: directories},
			&v1alpha1.ScimToken{}:        {Namespaces: directories},
			&v1alpha1.OAuthGrant{}:       {Namespaces: directories},
			&v1alpha1.AppRoleBinding{}:   {Namespaces: directories, Transform: compactBinding},
			&corev1.Secret{}:             {Namespaces: directories, Label: scimtoken.CacheLabel()},
			&rbacv1.RoleBinding{}:        {Label: approlebinding.CacheLabel(), Transform: compactBinding},
			&rbacv1.ClusterRoleBinding{}: {Label: approlebinding.CacheLabel(), Transform: compactBinding},
			app.ClusterRoleMetadata():    {Transform: app.OnlyNames},
		},
	}
}

// addControllers registers the controllers; live reads and writes without informers, sightings follow claims, and speed what
// both clients send.
func addControllers(ctx context.Context, mgr manager.Manager, live client.Client, sightings *claims.Sightings, speed *fair.Speed, options Options) error {
	if err := addInformers(ctx, mgr); err != nil {
		return err
	}
	var (
		policies = &access.Cache{Protected: []string{metav1.NamespaceSystem, options.OperatorNamespace}}
		index    = &earned.Index{}
		recorder = mgr.GetEventRecorder("scim-operator")
	)
	syncer := &approlebinding.Syncer{
		Client: mgr.GetClient(), Live: live, Policies: policies, Index: index, Recorder: recorder,
		Namespaces: options.Namespaces, Speed: speed,
	}
	evaluations := user.NewEvaluations(speed)
	memberships := group.NewMemberships(live)
	revocations := &revocation.Keeper{Client: mgr.GetClient(), Live: live, Namespace: options.OperatorNamespace}
	others, err := residualaccess.NewCache(mgr)
	if err != nil {
		return err
	}
	counted, err := inventory.Add(ctx, mgr)
	if err != nil {
		return err
	}
	lead := &leading{}
	if err := mgr.Add(lead); err != nil {
		return err
	}
	policyCheck, definitionCheck, err := newChecks(mgr, lead, options)
	if err != nil {
		return err
	}
	if options.Status != nil {
		options.Status.Use(&statuspage.Source{Reader: mgr.GetCache(), Inventory: counted, Leads: lead.now.Load, Policies: policyCheck.Result, Definitions: definitionCheck.Result})
	}
	finder := residualaccess.NewFinder(mgr.GetClient(), memberships.NamesOf, options.Namespaces, approlebinding.IsMade)
	memberships.OnChange(func(change group.Change) {
		finder.Left(change.App.Namespace, change.Before.DisplayName, change.Left)
	})
	guard, progress := &removalguard.Guard{Live: live}, &app.Progress{}
	users := &user.Reconciler{
		Client: mgr.GetClient(), Live: live, Policies: policies, Index: index, Syncer: syncer, Recorder: recorder,
		Revocations: revocations, Residual: finder, Claims: sightings,
		Memberships: memberships, Guard: guard, Progress: progress, Speed: speed, Evaluations: evaluations,
	}
	groups := &group.Reconciler{
		Client: mgr.GetClient(), Live: live, Policies: policies, Memberships: memberships, Recorder: recorder,
	}
	return errors.Join(
		approlebinding.Add(ctx, mgr, syncer, others),
		revocation.Add(ctx, mgr, revocations),
		residualaccess.Add(ctx, mgr, finder, others),
		user.Add(mgr, users),
		app.Add(mgr, &app.Reconciler{
			Client: mgr.GetClient(), Live: live, Policies: policies, Index: index, Guard: guard, Progress: progress, Evaluations: evaluations,
			MayBind: syncer.MayBind, Recorder: recorder,
			Revocations: revocations, PolicyCheck: policyCheck, DefinitionCheck: definitionCheck,
		}),
		scimtoken.Add(ctx, mgr, &scimtoken.Reconciler{Client: mgr.GetClient(), Live: live, Recorder: recorder}),
		oauthgrant.Add(mgr, &oauthgrant.Reconciler{Client: mgr.GetClient(), Recorder: recorder}),
		group.Add(mgr, groups),
		memberships.Watch(ctx, mgr), // after the controllers that it tells
		mgr.Add(&user.FollowClaims{Reconciler: users, Namespaces: options.Namespaces, GroupClaimGone: groups.ClaimGone}),
		mgr.Add(&user.Reaper{Client: mgr.GetClient(), Live: live, Namespaces: options.Namespaces, ClaimGone: users.ClaimGone}),
		mgr.Add(&group.Reaper{Reconciler: groups, Namespaces: options.Namespaces}),
		mgr.Add(policyCheck), // after the controller that they tell
		mgr.Add(definitionCheck),
	)
}

// newChecks returns what looks at the admission policies, and at the CustomResourceDefinitions. Their client is no leader's: a standby looks,
// too.
func newChecks(mgr manager.Manager, lead *leading, options Options) (policyCheck, definitionCheck *policycheck.Checker, err error) {
	reads, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, nil, err
	}
	policyCheck, definitionCheck = policycheck.NewPolicies(), policycheck.NewDefinitions()
	for name, checker := range map[string]*policycheck.Checker{"policies": policyCheck, "definitions": definitionCheck} {
		checker.Client, checker.Namespace, checker.Recorder = reads, options.OperatorNamespace, mgr.GetEventRecorder("scim-operator")
		checker.Leads, checker.Log, checker.Grace = lead.now.Load, options.Logger.WithName(name), options.PolicyGrace
	}
	return policyCheck, definitionCheck, nil
}

// addInformers has the manager fill every cache before anything starts: controllers read what others watch.
func addInformers(ctx context.Context, mgr manager.Manager) error {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	for _, object := range []client.Object{
		&v1alpha1.App{}, &v1alpha1.User{}, &v1alpha1.ScimToken{}, &v1alpha1.OAuthGrant{}, &v1alpha1.AppRoleBinding{},
		&rbacv1.RoleBinding{}, &rbacv1.ClusterRoleBinding{}, &corev1.Secret{}, namespace, app.ClusterRoleMetadata(),
	} {
		if _, err := mgr.GetCache().GetInformer(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// addChecks makes a process ready once its caches are filled: a standby is ready, too.
func addChecks(mgr manager.Manager, checks *probes.Checks, mayWork func() bool) error {
	synced := &syncedCheck{}
	checks.AddReady("caches", synced.check)
	// A standby's queues fill with what the leader does, and a leader that is cut off may not do what waits.
	stalled := func(limit time.Duration) probes.Check {
		return func() error {
			if !mayWork() {
				return nil
			}
			return fair.Watched.Stalled(limit)
		}
	}
	checks.AddReady("progress", stalled(fair.ReadyLimit))
	checks.AddLive("progress", stalled(fair.LiveLimit))
	return mgr.Add(synced)
}

// syncedCheck is started by the manager after its caches are filled.
type syncedCheck struct{ started atomic.Bool }

func (s *syncedCheck) NeedLeaderElection() bool { return false }

func (s *syncedCheck) Start(context.Context) error {
	s.started.Store(true)
	return nil
}

func (s *syncedCheck) check() error {
	if !s.started.Load() {
		return fmt.Errorf("the caches are not filled yet")
	}
	return nil
}
