# For the guides: scim METHOD PATH [BODY] sends one request as Okta would, and shows the answer. It needs SCIM_URL, the base
# URL that `. .run/env` sets, and TOKEN, which the guide makes.
scim() {
  curl -sS -X "$1" "$SCIM_URL$2" -H "Authorization: Bearer $TOKEN" -w '\nHTTP %{http_code}\n' \
    -H 'Accept: application/scim+json' -H 'User-Agent: Okta SCIM Client 1.0.0' \
    ${3:+-H 'Content-Type: application/scim+json; charset=utf-8' --data "$3"}
}
