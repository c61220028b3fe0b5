package record

import _ "embed"

//go:embed session.schema.json
var sessionSchema []byte

// SessionSchema is the JSON Schema (draft 2020-12) of a line of sessions.jsonl.
func SessionSchema() []byte { return append([]byte(nil), sessionSchema...) }
