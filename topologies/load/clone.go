package load

import (
	"net/netip"
	"reflect"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// clone copies a scenario so that no list, mapping or pointer is shared.
func clone(s *spec.Scenario) *spec.Scenario {
	return copyOf(reflect.ValueOf(s)).Interface().(*spec.Scenario)
}

// copyOf copies a value in depth.
func copyOf(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || v.Type() == reflect.TypeFor[*impair.Trace]() { // which nobody changes
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(copyOf(v.Elem()))
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(copyOf(v.Index(i)))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			out.SetMapIndex(it.Key(), copyOf(it.Value()))
		}
		return out
	case reflect.Struct:
		if t := v.Type(); t == reflect.TypeFor[netip.Addr]() || t == reflect.TypeFor[netip.Prefix]() {
			return v // values, with fields of their own
		}
		out := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			out.Field(i).Set(copyOf(v.Field(i)))
		}
		return out
	default:
		return v
	}
}
