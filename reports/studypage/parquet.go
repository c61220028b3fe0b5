package studypage

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// writeParquet writes a sheet with a column for each of its own: text, or numbers
// which may be missing. Parquet orders columns by name.
func writeParquet(s sheet) ([]byte, error) {
	group := parquet.Group{}
	for i, name := range s.header {
		if i < len(s.numeric) && s.numeric[i] {
			group[name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
		} else {
			group[name] = parquet.String()
		}
	}
	schema := parquet.NewSchema(s.name, group)
	var b bytes.Buffer
	w := parquet.NewGenericWriter[map[string]any](&b, schema, parquet.Compression(&zstd.Codec{}), parquet.CreatedBy("homeward", "1", ""))
	for _, row := range s.rows {
		values := map[string]any{}
		for i, name := range s.header {
			if i >= len(s.numeric) || !s.numeric[i] {
				values[name] = row[i]
				continue
			}
			if row[i] == "" {
				values[name] = nil
				continue
			}
			v, err := strconv.ParseFloat(row[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: column %s: %w", s.name, name, err)
			}
			values[name] = v
		}
		if _, err := w.Write([]map[string]any{values}); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return b.Bytes(), nil
}
