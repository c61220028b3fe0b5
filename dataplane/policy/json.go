package policy

import (
	"encoding/json"
	"fmt"
	"math"
)

// Protocols are IP protocol numbers. They are a type of their own because JSON
// would write a plain slice of bytes as a base64 string.
type Protocols []uint8

// MarshalJSON writes an array of numbers.
func (p Protocols) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("null"), nil
	}
	numbers := make([]int, len(p))
	for i, n := range p {
		numbers[i] = int(n)
	}
	return json.Marshal(numbers)
}

// UnmarshalJSON reads an array of numbers, each from 0 to 255.
func (p *Protocols) UnmarshalJSON(data []byte) error {
	var numbers []int
	if err := json.Unmarshal(data, &numbers); err != nil {
		return fmt.Errorf("protocols: %w", err)
	}
	*p = nil
	for _, n := range numbers {
		if n < 0 || n > math.MaxUint8 {
			return fmt.Errorf("protocols: want numbers from 0 to 255, got %d", n)
		}
		*p = append(*p, uint8(n))
	}
	return nil
}
