//go:build conformance

package conformance

// operation is one PATCH operation as its JSON object.
type operation = map[string]any

// operation is one that both sides can read: simple and complex attributes, an extension, and a complex multi-valued attribute
// with every form of path (RFC 7644 section 3.5.2).
func (g generator) operation() operation {
	op := pick(g, "add", "replace", "remove", "Add", "Replace", "Remove")
	removes := op == "remove" || op == "Remove"
	if !removes && g.oneIn(4) {
		return operation{"op": op, "value": g.attributes()}
	}
	if g.oneIn(2) {
		return g.emailOperation(op, removes)
	}
	path := pick(g, "title", "displayName", "nickName", "active", "name", "name.givenName", "name.familyName", "Title", "NAME.givenName",
		enterpriseURN+":department", enterpriseURN+":manager", enterpriseURN+":manager.value", coreURN+":title", "userName")
	if removes {
		return operation{"op": op, "path": path}
	}
	return operation{"op": op, "path": path, "value": g.attributeValue(path)}
}

func (g generator) attributeValue(path string) any {
	switch path {
	case "name":
		return g.name()
	case "active":
		return pick[any](g, true, false, "True", "false")
	case enterpriseURN + ":manager":
		return operation{"value": g.filled()}
	case "userName":
		return g.filled()
	}
	if g.oneIn(10) {
		return nil
	}
	return g.filled()
}

func (g generator) filled() string { return pick(g, "anna", "Anna", "bob", "École", "a/b", `a"b`) }

func (g generator) name() operation {
	name := operation{}
	for _, sub := range []string{"givenName", "familyName"} {
		if g.oneIn(2) {
			name[sub] = g.filled()
		}
	}
	if len(name) == 0 {
		name["givenName"] = "anna"
	}
	return name
}

// attributes is the value of an operation without a path.
func (g generator) attributes() operation {
	value := operation{}
	for _, name := range []string{"title", "Title", "active", "name", "name.givenName"} {
		if g.oneIn(4) {
			value[name] = g.attributeValue(name)
		}
	}
	if _, twice := value["name"]; twice {
		delete(value, "name.givenName")
	}
	if _, twice := value["title"]; twice {
		delete(value, "Title")
	}
	if g.oneIn(3) {
		value["emails"] = g.someEmails()
	}
	if g.oneIn(4) {
		value[enterpriseURN+":department"] = g.filled()
	}
	if len(value) == 0 {
		value["title"] = "anna"
	}
	return value
}

func (g generator) someEmails() []any {
	for {
		if emails := g.emails(); len(emails) > 0 {
			return emails
		}
	}
}

func (g generator) email() operation {
	email := operation{"value": g.address(), "type": pick(g, "work", "home", "other")}
	if g.oneIn(3) {
		email["primary"] = pick[any](g, true, false, "True")
	}
	return email
}

func (g generator) address() string {
	return pick(g, "anna", "Anna", "ann@example.com", "bob", "École")
}

func (g generator) emailOperation(op string, removes bool) operation {
	filter := pick(g, `type eq "work"`, `type eq "home"`, `type eq "WORK"`, `type eq "work" and primary eq true`, `type eq "home" or type eq "other"`,
		`not (type eq "work")`, `type sw "o"`, `primary eq true`)
	switch g.IntN(4) {
	case 0:
		if removes && g.oneIn(2) {
			return operation{"op": op, "path": "emails"}
		}
		if removes {
			return operation{"op": op, "path": "emails", "value": []any{operation{"value": g.address()}}}
		}
		if g.oneIn(2) {
			return operation{"op": op, "path": "emails", "value": g.email()}
		}
		return operation{"op": op, "path": "emails", "value": g.someEmails()}
	case 1:
		if removes {
			return operation{"op": op, "path": "emails[" + filter + "]"}
		}
		return operation{"op": op, "path": "emails[" + filter + "]", "value": g.email()}
	case 2:
		if removes {
			return operation{"op": op, "path": "emails[" + filter + "].primary"}
		}
		return operation{"op": op, "path": "emails[" + filter + "].value", "value": g.address()}
	default:
		if removes {
			return operation{"op": op, "path": "emails.primary"}
		}
		return operation{"op": op, "path": "emails[" + filter + "].primary", "value": pick[any](g, true, false, "True")}
	}
}
