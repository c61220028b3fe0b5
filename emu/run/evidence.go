package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/homeward-lab/homeward/reports/record"
)

// saveTables writes what every server's flow table holds now. A server that is
// gone or pauses has none, which its own end tells of.
func (r *runner) saveTables() error {
	if r.options.Evidence == "" {
		return nil
	}
	dir := filepath.Join(r.options.Evidence, record.TablesDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("keep flow tables: %w", err)
	}
	l := &Lab{r: r, plan: r.plan}
	looks, _ := l.Look(context.Background())
	var errs []error
	for server, look := range looks {
		data, err := json.MarshalIndent(l.Sessions(server, look.Sessions), "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, server+".json"), append(data, '\n'), 0o666)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep flow tables: %w", err)
	}
	return nil
}

// saveLogs writes what servers and programs have said.
func (r *runner) saveLogs() error {
	if r.options.Evidence == "" {
		return nil
	}
	dir := filepath.Join(r.options.Evidence, record.LogsDir)
	l := &Lab{r: r, plan: r.plan}
	var errs []error
	for node, text := range l.Logs() {
		if text == "" {
			continue
		}
		err := os.MkdirAll(dir, 0o777)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, node+".txt"), []byte(text), 0o666)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	return nil
}
