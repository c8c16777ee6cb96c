package cloudevent

import "reflect"

// The types that are read, for the test of the schema.
var (
	HandedType       = reflect.TypeFor[handed]()
	HandedEntityType = reflect.TypeFor[handedEntity]()
)
