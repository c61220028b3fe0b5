package spec

import "embed"

//go:embed account.go failure.go impairment.go site.go spec.go study.go workload.go
var files embed.FS

// Sources are the texts of the language's types. Their comments are the
// language's reference, and the schema takes its descriptions from them.
func Sources() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files are in the program
	}
	var texts []string
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}
