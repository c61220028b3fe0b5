package load

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Schema is the JSON Schema (draft 2020-12) of scenario files, for editors. It
// knows the words and the short forms; what a scenario means only load knows.
func Schema() ([]byte, error) { return schemaOf(&spec.Scenario{}, "Homeward scenario") }

// StudySchema is the JSON Schema of study files.
func StudySchema() ([]byte, error) { return schemaOf(&spec.Study{}, "Homeward study") }

func schemaOf(language any, title string) ([]byte, error) {
	comments, err := comments()
	if err != nil {
		return nil, err
	}
	r := &jsonschema.Reflector{
		Anonymous:     true,
		FieldNameTag:  "yaml",
		Mapper:        textType,
		LookupComment: func(t reflect.Type, field string) string { return comments[t.Name()+"."+field] },
	}
	root := r.Reflect(language)
	root.Title = title
	for name, def := range root.Definitions {
		parameters(def)
		switch name {
		case "Egress":
			root.Definitions[name] = either(def, text("", prefixPattern+"|"+addrPattern))
		case "Replicas":
			root.Definitions[name] = either(def, &jsonschema.Schema{Type: "integer", Minimum: "1"})
		case "Knob":
			numbers(def, "values", "from", "to")
		case "Solve":
			numbers(def, "from", "to")
		case "Host":
			root.Definitions[name] = either(def, text("", addrPattern))
		}
		alone(def)
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(out, '\n'), nil
}

// Patterns of text types; loose, because load says precisely what is wrong.
const (
	paramPattern  = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
	addrPattern   = `^[0-9a-fA-F.:]+$`
	prefixPattern = `^[0-9a-fA-F.:]+/[0-9]{1,3}$`
	number        = `[0-9]+(\.[0-9]+)?`
)

// textType is the schema of a type that has a form of its own; nil for others.
func textType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return text("an address such as 10.0.1.5", addrPattern+"|"+paramPattern)
	case reflect.TypeFor[netip.Prefix]():
		return text("a prefix such as 10.0.1.0/24", prefixPattern+"|"+paramPattern)
	case reflect.TypeFor[[]netip.Prefix]():
		one := text("", prefixPattern+"|"+addrPattern+"|"+paramPattern)
		return &jsonschema.Schema{Type: "array", Description: "prefixes or addresses", Items: one}
	case reflect.TypeFor[unit.Bytes]():
		return text("a size such as 64KiB", `^`+number+`(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$|^0$|`+paramPattern)
	case reflect.TypeFor[unit.BitRate]():
		return text("a rate such as 500Mbit", `^`+number+`(bit|kbit|Mbit|Gbit|Tbit)$|^0$|`+paramPattern)
	case reflect.TypeFor[unit.Duration]():
		return text("a duration such as 4ms", `^(`+number+`(ns|us|µs|ms|s|m|h))+$|^0$|`+paramPattern)
	case reflect.TypeFor[unit.Ratio]():
		share := &jsonschema.Schema{Type: "number", Minimum: "0", Maximum: "1"}
		return &jsonschema.Schema{
			Description: "a share such as 0.1% or 0.001",
			AnyOf:       []*jsonschema.Schema{text("", `^`+number+`%?$|`+paramPattern), share},
		}
	case reflect.TypeFor[spec.Delay]():
		return text("a duration such as 4ms, or geo", `^geo$|^(`+number+`(ns|us|µs|ms|s|m|h))+$|^0$|`+paramPattern)
	case reflect.TypeFor[spec.Trace]():
		return text("a file in Mahimahi's format", "")
	case reflect.TypeFor[spec.Sizes]():
		return text("a size such as 64KiB, a distribution such as lognormal(median=20kB, sigma=2), or file(NAME)", "")
	case reflect.TypeFor[spec.Times]():
		return text("a duration such as 30s, a distribution such as exponential(mean=30s), or file(NAME)", "")
	case reflect.TypeFor[spec.Popularity]():
		return text("zipf(exponent, number of destinations), such as zipf(1.1, 1000)", `^zipf\(.*\)$|`+paramPattern)
	case reflect.TypeFor[spec.Near]():
		code := text("", `^[a-z][a-z0-9_]*$|`+paramPattern)
		return &jsonschema.Schema{
			Description: "a code, a list of codes, or shares by code",
			AnyOf: []*jsonschema.Schema{code, {Type: "array", Items: code},
				{Type: "object", AdditionalProperties: &jsonschema.Schema{Type: "integer", Minimum: "1"}}},
		}
	case reflect.TypeFor[[]spec.Variant]():
		return variantSchema()
	case reflect.TypeFor[[]spec.Setting]():
		return &jsonschema.Schema{Type: "object", Description: "selectors and values; a more specific selector wins"}
	case reflect.TypeFor[[]spec.StudyCase]():
		return casesSchema()
	}
	return nil
}

// variantSchema is the mapping name → variant.
func variantSchema() *jsonschema.Schema {
	props := jsonschema.NewProperties()
	props.Set("title", &jsonschema.Schema{Type: "string", Description: "one line for people"})
	props.Set("set", &jsonschema.Schema{Type: "object", Description: "selectors and values; a more specific selector wins"})
	props.Set("expect_fail", &jsonschema.Schema{
		Type: "array", Items: &jsonschema.Schema{Type: "string"}, Description: "checks that must fail; all others must pass",
	})
	one := &jsonschema.Schema{Type: "object", Properties: props, AdditionalProperties: jsonschema.FalseSchema}
	return &jsonschema.Schema{
		Type: "object", Description: "changes of the file, by name; the file itself is the variant base",
		PropertyNames:        &jsonschema.Schema{Pattern: `^[a-z][a-z0-9_]*$`},
		AdditionalProperties: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, {Type: "null"}}},
	}
}

// casesSchema is the mapping name → case of a study.
func casesSchema() *jsonschema.Schema {
	props := jsonschema.NewProperties()
	props.Set("title", &jsonschema.Schema{Type: "string", Description: "one line for people"})
	props.Set("variant", &jsonschema.Schema{Type: "string", Description: "the scenario's variant that the case starts from"})
	props.Set("set", &jsonschema.Schema{Type: "object", Description: "selectors and values"})
	return &jsonschema.Schema{
		Type: "object", Description: "named changes that are compared", PropertyNames: &jsonschema.Schema{Pattern: `^[a-z][a-z0-9_]*$`},
		AdditionalProperties: &jsonschema.Schema{Type: "object", Properties: props, AdditionalProperties: jsonschema.FalseSchema},
	}
}

// numbers lets text that is turned be written as YAML's plain values.
func numbers(def *jsonschema.Schema, words ...string) {
	plain := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	for _, w := range words {
		p, ok := def.Properties.Get(w)
		if !ok {
			continue
		}
		one := *plain
		if one.Description = p.Description; p.Type == "array" {
			p.Items = plain
		} else {
			def.Properties.Set(w, &one)
		}
	}
}

// text is the schema of text with a pattern. Numbers that YAML would read as
// such, "0", are allowed by the pattern alone.
func text(description, pattern string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Description: description, Pattern: pattern}
}

// either allows a short form beside the mapping.
func either(long, short *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Description: long.Description, AnyOf: []*jsonschema.Schema{short, long}}
}

// parameters lets numbers and truth values be parameters.
func parameters(def *jsonschema.Schema) {
	if def.Properties == nil {
		return
	}
	for p := def.Properties.Oldest(); p != nil; p = p.Next() {
		switch s := p.Value; s.Type {
		case "integer", "number", "boolean":
			p.Value = &jsonschema.Schema{
				Description: s.Description,
				AnyOf:       []*jsonschema.Schema{{Type: s.Type}, text("", paramPattern)},
			}
		}
	}
}

// alone lets a list of plain values be one of them, without brackets.
func alone(def *jsonschema.Schema) {
	if def.Properties == nil {
		return
	}
	for p := def.Properties.Oldest(); p != nil; p = p.Next() {
		if list := p.Value; list.Type == "array" && (list.Items.Type != "" || strings.HasSuffix(list.Items.Ref, "/Egress")) {
			p.Value = either(list, list.Items)
		}
	}
}

// comments are the doc comments of the language's types, by "Type.Field";
// those of a type by "Type.".
func comments() (map[string]string, error) {
	out := map[string]string{}
	for _, source := range spec.Sources() {
		file, err := parser.ParseFile(token.NewFileSet(), "spec", source, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		learnComments(file, out)
	}
	return out, nil
}

func learnComments(file *ast.File, out map[string]string) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, s := range gen.Specs {
			t := s.(*ast.TypeSpec)
			out[t.Name.Name+"."] = oneLine(gen.Doc.Text())
			st, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					if doc := oneLine(f.Doc.Text()); doc != "" {
						out[t.Name.Name+"."+name.Name] = doc
					} else {
						out[t.Name.Name+"."+name.Name] = oneLine(f.Comment.Text())
					}
				}
			}
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
