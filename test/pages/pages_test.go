package pages

import "testing"

func TestPagesAreCompared(t *testing.T) {
	blocks := blocksOf("a\n```sh\nmake run\n```\n\n```sh\nls\n```\n\n```text\n{\"id\":\"jane-exebugpowk\",…}\nx   1.25s\n```\nb\n```sh\ntrue\n```\n")
	if len(blocks) != 2 || blocks[0].commands != "ls\n" || blocks[1].shown != "" {
		t.Fatalf("blocks %q", blocks)
	}
	for printed, want := range map[string]bool{
		"{\"id\":\"jane-aaaaaaaaaa\",\"active\":true}\nx 0.5s\n": true,
		"{\"id\":\"john-aaaaaaaaaa\",\"active\":true}\nx 25s\n":  false,
		"{\"id\":\"jane-aaaaaaaaaa\",\"active\":true}\ny 25s\n":  false,
		"": false,
	} {
		if alike(printed, blocks[0].shown) != want {
			t.Errorf("%q is compared wrongly", printed)
		}
	}
}

func TestSecretsMayBeLeftOut(t *testing.T) {
	secret := "scim_5J9OoaQE_2drXUDGAqcGtuO03vzPYvX0NxzVE3Rt8Oj5EN79BnyV_1pmnLU"
	for shown, want := range map[string]bool{"scim_…": true, secret: true, "scim_5J9OoaQA_2drXUDGAqcGtuO03vzPYvX0NxzVE3Rt8Oj5EN79BnyV_1pmnLA": true, "sha_…": false} {
		if alike(secret, shown) != want {
			t.Errorf("a token is compared wrongly with %q", shown)
		}
	}
}
