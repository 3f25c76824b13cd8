package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// procTick is the unit of processor times in /proc: 100 a second on every architecture that Go runs on.
const procTick = 10 * time.Millisecond

// written counts writes at the API server by resource.
type written map[string]float64

// requestLine is one counter of the API server's requests.
var requestLine = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)

// apiWrites reads how many writes the API server has answered so far, of the kinds that provisioning needs.
func (e *environment) apiWrites(ctx context.Context) (written, error) {
	return e.apiRequests(ctx, func(verb, resource string) (string, bool) {
		return resource, slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, verb)
	})
}

// apiCalls reads how many calls the API server has answered so far, by verb and kind. Watches are left out: they go on.
func (e *environment) apiCalls(ctx context.Context) (written, error) {
	return e.apiRequests(ctx, func(verb, resource string) (string, bool) {
		return verb + " " + resource, verb != "WATCH"
	})
}

// apiRequests reads the API server's counters of the kinds that provisioning needs; name tells under what to count one, if at all.
func (e *environment) apiRequests(ctx context.Context, name func(verb, resource string) (string, bool)) (written, error) {
	text, err := e.clientset.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	counts := written{}
	scanner := bufio.NewScanner(strings.NewReader(string(text)))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		parts := requestLine.FindStringSubmatch(scanner.Text())
		if parts == nil {
			continue
		}
		labels := map[string]string{}
		for pair := range strings.SplitSeq(parts[1], ",") {
			key, value, _ := strings.Cut(pair, "=")
			labels[key] = strings.Trim(value, `"`)
		}
		if !slices.Contains([]string{"scim-operator.io", "rbac.authorization.k8s.io", "events.k8s.io"}, labels["group"]) {
			continue
		}
		count, err := strconv.ParseFloat(parts[2], 64)
		if err != nil {
			return nil, err
		}
		resource := labels["resource"]
		if labels["subresource"] != "" {
			resource += "/" + labels["subresource"]
		}
		if counted, ok := name(labels["verb"], resource); ok {
			counts[counted] += count
		}
	}
	return counts, scanner.Err()
}

// reportWrites adds what one user cost in writes, all kinds together and each kind in the title.
func (s *suite) reportWrites(name string, users int, before, after written) {
	s.reportCounts(name, "API writes per user: ", users, before, after)
}

func (s *suite) reportCounts(name, title string, users int, before, after written) {
	total, kinds := 0.0, []string{}
	for resource, count := range after {
		if grown := count - before[resource]; grown > 0 {
			total += grown
			kinds = append(kinds, fmt.Sprintf("%s %.2f", resource, grown/float64(users)))
		}
	}
	slices.Sort(kinds)
	s.report.add(figure{
		name: name, title: title + strings.Join(kinds, ", "), n: users,
		ratio: total / float64(users),
	})
}

// work is the processor time that each process of the environment has taken so far.
func (e *environment) work() map[string]time.Duration {
	taken := map[string]time.Duration{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return taken // no such file system: the figures are left out
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		name, parent, time, ok := processWork(pid)
		if !ok || parent != os.Getpid() {
			continue
		}
		switch {
		case e.server != nil && pid == e.server.Pid():
			name = "server"
		case e.controller != nil && pid == e.controller.Pid():
			name = "controller"
		}
		taken[name] += time
	}
	return taken
}

// processWork reads /proc/<pid>/stat.
func processWork(pid int) (name string, parent int, taken time.Duration, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, 0, false
	}
	text := string(stat)
	from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if from < 0 || to < from {
		return "", 0, 0, false
	}
	fields := strings.Fields(text[to+1:]) // state ppid … utime stime, the 14th and 15th of all
	if len(fields) < 13 {
		return "", 0, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return "", 0, 0, false
	}
	var ticks int64
	for _, field := range fields[11:13] {
		count, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return "", 0, 0, false
		}
		ticks += count
	}
	return text[from+1 : to], parent, time.Duration(ticks) * procTick, true
}

// reportWork adds how much processor time each process took for one user since an earlier look.
func (c *convergence) reportWork(name string, users int, before map[string]time.Duration) {
	now := c.work()
	names := []string{}
	var total time.Duration
	for process, taken := range now {
		spent := taken - before[process]
		total += spent
		names = append(names, fmt.Sprintf("%s %.2f", process, inMilliseconds(spent)/float64(users)))
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	c.report.add(figure{
		name: name, title: "processor ms per user: " + strings.Join(names, ", "), n: users,
		ratio: inMilliseconds(total) / float64(users),
	})
}
