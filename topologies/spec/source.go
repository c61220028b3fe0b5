package spec

import _ "embed"

var (
	//go:embed spec.go
	source string
	//go:embed failure.go
	failure string
	//go:embed workload.go
	workload string
	//go:embed study.go
	study string
)

// Sources are the texts of the language's types. Their comments are the
// language's reference, and the schema takes its descriptions from them.
func Sources() []string { return []string{source, failure, workload, study} }
