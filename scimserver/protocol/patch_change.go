package protocol

// change applies one operation to the attribute that t names, in the object that holds it.
func (p *patcher) change(op patchOp, t target, value any) error {
	if isPassword(t.extension) || isPassword(t.name) || isPassword(t.sub) {
		return nil
	}
	parent := p.next.Attributes
	if t.extension != "" {
		parent, _ = p.next.Attributes[t.extension].(map[string]any)
		if parent == nil {
			parent = map[string]any{}
		}
	}
	key := t.name
	if t.attribute == nil {
		if held, _, ok := member(parent, t.name); ok {
			key = held
		}
	}
	changed, err := t.apply(op, parent[key], value)
	if err != nil {
		return err
	}
	if changed == nil && t.extension == "" && t.attribute != nil && t.attribute.Required && !t.attribute.declared {
		if op == opRemove {
			return Mutability("%s is required: it cannot be removed", t.name)
		}
		return InvalidValue("%s is required: it cannot be empty", t.name)
	}
	if changed == nil {
		delete(parent, key)
	} else {
		parent[key] = changed
	}
	if len(parent) > MaxMembers {
		return tooManyMembers(len(parent))
	}
	if t.extension == "" {
		return nil
	}
	if len(parent) == 0 {
		delete(p.next.Attributes, t.extension)
	} else {
		p.next.Attributes[t.extension] = parent
	}
	return nil
}

// apply computes the attribute's new value; nil means absent. It may change old in place.
func (t target) apply(op patchOp, old, value any) (any, error) {
	switch {
	case t.filter != nil:
		return t.applyFiltered(op, old, value)
	case t.sub != "":
		return t.applySub(op, old, value)
	case op == opRemove:
		return t.removeValues(old, value)
	case t.isList(old):
		return t.applyList(op, old, value)
	default:
		return t.applySingle(old, value)
	}
}

func (t target) isList(old any) bool {
	if t.attribute != nil {
		return t.attribute.MultiValued
	}
	_, ok := old.([]any)
	return ok
}

// coerced is stored with the target's name in the error.
func (t target) coerced(a *attribute, value any) (any, error) {
	value, err := stored(a, value)
	if err != nil {
		return nil, within(t.String(), err)
	}
	return value, nil
}

// applyList adds elements that are not there yet, or sets the whole list.
func (t target) applyList(op patchOp, old, value any) (any, error) {
	value, err := t.coerced(t.attribute, value)
	if err != nil {
		return nil, err
	}
	if op == opReplace {
		return value, nil
	}
	held, _ := old.([]any)
	added, ok := value.([]any)
	if !ok && value != nil {
		added = []any{value}
	}
	return listOrNil(normaliseList(append(held, added...), -1)), nil
}

func listOrNil(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// applySingle sets a single-valued attribute. For an object, only the sub-attributes in the value change (RFC 7644 section
// 3.5.2.3); an empty value clears.
func (t target) applySingle(old, value any) (any, error) {
	if list, ok := value.([]any); ok && len(list) == 1 && t.attribute != nil {
		value = list[0]
	}
	object, isObject := value.(map[string]any)
	held, heldObject := old.(map[string]any)
	if !isObject || !heldObject {
		return t.coerced(t.attribute, value)
	}
	if t.attribute != nil && t.attribute.Type != TypeComplex {
		return t.coerced(t.attribute, value)
	}
	return t.mergeObject(held, object)
}

func (t target) mergeObject(held, object map[string]any) (any, error) {
	// The value refers to another resource now: what described the former one no longer holds.
	if _, value, ok := member(object, "value"); ok && t.attribute.sub("$ref") != nil && t.valueKey(value) != t.valueKey(held["value"]) {
		clear(held)
	}
	for _, key := range (&schema{attributes: t.subAttributes()}).ordered(object) {
		name, sub := key, t.attribute.sub(key)
		if sub != nil {
			name = sub.Name
		} else if existing, _, ok := member(held, key); ok {
			name = existing
		}
		if err := put(held, name, sub, copyValue(object[key])); err != nil {
			return nil, within(t.String(), err)
		}
	}
	if len(held) > MaxMembers {
		return nil, tooManyMembers(len(held))
	}
	if len(held) == 0 {
		return nil, nil
	}
	return held, nil
}

func (t target) subAttributes() map[string]*attribute {
	if t.attribute == nil {
		return nil
	}
	return t.attribute.subs
}

// applySub changes one sub-attribute: of the object, or of every element of a list.
func (t target) applySub(op patchOp, old, value any) (any, error) {
	if op == opRemove {
		value = nil
	}
	if !t.isList(old) {
		held, ok := old.(map[string]any)
		if !ok && old != nil {
			return nil, NoTarget("%s: %s has no sub-attributes", t, kindOf(old))
		}
		if held == nil {
			held = map[string]any{}
		}
		if err := t.setSub(held, value); err != nil {
			return nil, err
		}
		if len(held) == 0 {
			return nil, nil
		}
		return held, nil
	}
	list, _ := old.([]any)
	if len(list) == 0 {
		if isEmpty(value) {
			return nil, nil
		}
		list = []any{map[string]any{}}
	}
	return t.changeElements(list, value, func(any) bool { return true })
}

func (t target) setSub(object map[string]any, value any) error {
	key := t.sub
	if t.subAttribute == nil {
		if held, _, ok := member(object, key); ok {
			key = held
		}
	}
	value, err := t.coerced(t.subAttribute, copyValue(value))
	if err != nil {
		return err
	}
	if value == nil {
		delete(object, key)
	} else {
		object[key] = value
	}
	if len(object) > MaxMembers {
		return tooManyMembers(len(object))
	}
	return nil
}

// applyFiltered changes the elements that the filter selects. Where none is selected, remove does nothing, and add and replace
// make the element that the filter describes: Entra sets e-mail addresses and phone numbers in this way only.
func (t target) applyFiltered(op patchOp, old, value any) (any, error) {
	list, isList := old.([]any)
	if !isList && old != nil {
		list = []any{old}
	}
	matched := 0
	for _, element := range list {
		if t.filter.matchesElement(element) {
			matched++
		}
	}
	switch {
	case matched == 0 && (op == opRemove || isEmpty(value)):
		return old, nil
	case matched == 0:
		element, ok := t.filter.describedElement(t.attribute)
		if !ok {
			return nil, NoTarget("%s: no value matches, and the filter does not describe one that could be added", t)
		}
		list = append(list, element)
	case op == opRemove && t.sub == "":
		kept := list[:0]
		for _, element := range list {
			if !t.filter.matchesElement(element) {
				kept = append(kept, element)
			}
		}
		return listOrNil(kept), nil
	case op == opRemove:
		value = nil
	}
	if matched == 0 {
		last := len(list) - 1
		i := -1
		return t.changeElements(list, value, func(any) bool { i++; return i == last })
	}
	return t.changeElements(list, value, t.filter.matchesElement)
}

// changeElements sets the value, or the sub-attribute, of the selected elements, and normalises the list. A selected element
// that ends up primary is the only one.
func (t target) changeElements(list []any, value any, selected func(any) bool) (any, error) {
	kept, winner := make([]any, 0, len(list)), -1
	for _, element := range list {
		if !selected(element) {
			kept = append(kept, element)
			continue
		}
		changed, err := t.changeElement(element, value)
		if err != nil {
			return nil, err
		}
		if changed == nil {
			continue
		}
		if object, ok := changed.(map[string]any); ok && object["primary"] == true {
			winner = len(kept)
		}
		kept = append(kept, changed)
	}
	return listOrNil(normaliseList(kept, winner)), nil
}

func (t target) changeElement(element, value any) (any, error) {
	object, isObject := element.(map[string]any)
	switch {
	case t.sub != "" && isObject:
		if err := t.setSub(object, value); err != nil {
			return nil, err
		}
	case t.sub != "":
		return nil, NoTarget("%s: %s has no sub-attributes", t, kindOf(element))
	case isEmpty(value):
		return nil, nil
	default:
		if list, ok := value.([]any); ok && len(list) == 1 {
			value = list[0]
		}
		given, ok := value.(map[string]any)
		if !ok || !isObject {
			return t.replacedElement(object, value)
		}
		if _, err := t.mergeObject(object, given); err != nil {
			return nil, err
		}
	}
	if !informative(object) {
		return nil, nil
	}
	return object, nil
}

// replacedElement is the new element where a plain value was given for it.
func (t target) replacedElement(object map[string]any, value any) (any, error) {
	if t.attribute == nil {
		return t.coerced(nil, copyValue(value))
	}
	element, err := coerceElement(t.attribute, copyValue(value))
	if err != nil {
		return nil, within(t.String(), err)
	}
	if changed, ok := element.(map[string]any); ok && object != nil {
		for key, v := range changed {
			object[key] = v
		}
		return object, nil
	}
	return element, nil
}
