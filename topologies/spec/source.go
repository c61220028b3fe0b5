package spec

import _ "embed"

//go:embed spec.go
var source string

// Source is the text of the language's types. Their comments are the
// language's reference, and the schema takes its descriptions from them.
func Source() string { return source }
