package membership

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// inParallel does work for each index, some at a time, begun in their order. The first error ends it; work under way is
// waited for.
func (p *Protocol) inParallel(ctx context.Context, order []int, work func(context.Context, int) error) error {
	if p.parallelism == 1 {
		for _, index := range order {
			if err := work(ctx, index); err != nil {
				return err
			}
		}
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.parallelism)
	for _, index := range order {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return work(ctx, index)
		})
	}
	return group.Wait()
}
