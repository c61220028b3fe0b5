package resident

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/run"
)

// change tells what another file would change, and makes it so unless it is
// asked to tell alone.
func (k *keeper) change(ctx context.Context, c *control.Call, lab *run.Lab) error {
	var args control.ApplyArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	if args.Plan == nil {
		return control.Usagef("no plan to apply")
	}
	k.apply.Lock()
	defer k.apply.Unlock()
	now := lab.Plan()
	out := control.Changes{From: now.Fingerprint()}
	if args.Only != "" && args.Only != out.From {
		return control.Lackf("lab %s was changed by somebody else meanwhile", k.start.Name)
	}
	var err error
	k.mu.Lock()
	out.Changes, err = differences(k.plan, args.Scenario)
	k.mu.Unlock()
	if err != nil {
		return err
	}
	for _, why := range run.Fixed(now, args.Plan) {
		out.Refused = append(out.Refused, control.Change{Why: why})
	}
	out.Servers = len(run.Reconfigured(now, args.Plan))
	if err := c.Send(out); err != nil || args.Dry || len(out.Refused) > 0 {
		return err
	}
	// Half a change must not stay because somebody pressed Ctrl-C.
	if err := lab.Apply(context.WithoutCancel(ctx), args.Plan); err != nil {
		return err
	}
	k.mu.Lock()
	k.plan = args.Scenario
	k.mu.Unlock()
	return nil
}

// differences are the values in which two resolved files differ, by path.
func differences(old, next json.RawMessage) ([]control.Change, error) {
	before, err := flat(old)
	if err != nil {
		return nil, err
	}
	after, err := flat(next)
	if err != nil {
		return nil, err
	}
	paths := maps.Clone(before)
	maps.Copy(paths, after)
	all := []control.Change{}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if before[path] != after[path] {
			all = append(all, control.Change{Path: path, Old: before[path], New: after[path]})
		}
	}
	return all, nil
}

// flat is a document as path and value.
func flat(doc json.RawMessage) (map[string]string, error) {
	out := map[string]string{}
	if len(doc) == 0 {
		return out, nil
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return nil, fmt.Errorf("the resolved file: %w", err)
	}
	flatten("", v, out)
	return out, nil
}

func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			flatten(join(path, key), value, out)
		}
	case []any:
		if text, scalar := scalars(v); scalar {
			out[path] = text
			return
		}
		for i, value := range v {
			flatten(join(path, nameOf(value, i)), value, out)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// scalars is a list without objects in it, in one piece.
func scalars(list []any) (string, bool) {
	texts := make([]string, len(list))
	for i, v := range list {
		switch v.(type) {
		case map[string]any, []any:
			return "", false
		}
		texts[i] = fmt.Sprint(v)
	}
	return "[" + strings.Join(texts, ", ") + "]", true
}

// nameOf is how a file's own selectors call a member: by id and number.
func nameOf(v any, index int) string {
	object, _ := v.(map[string]any)
	id, ok := object["id"].(string)
	if !ok {
		return fmt.Sprintf("%d", index)
	}
	if n, numbered := object["instance"].(float64); numbered {
		return fmt.Sprintf("%s.%d", id, int(n))
	}
	return id
}
