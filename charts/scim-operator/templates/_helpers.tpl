{{- define "scim-operator.chart" -}}
{{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* labels of an object; dict "root" and "component", which may be empty. */}}
{{- define "scim-operator.labels" -}}
{{- with .component -}}
{{ include "scim-operator.selector" (dict "component" .) }}
{{ end -}}
app.kubernetes.io/part-of: scim-operator
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ include "scim-operator.chart" .root }}
{{- end }}

{{- define "scim-operator.selector" -}}
app.kubernetes.io/name: scim-operator
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "scim-operator.name" -}}
{{ .root.Values.namePrefix }}scim-operator-{{ .component }}
{{- end }}

{{- define "scim-operator.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "scim-operator.tlsSecret" -}}
{{- if or .Values.tls.secretName .Values.tls.certManager.enabled -}}
{{ .Values.tls.secretName | default (printf "%sscim-operator-server-tls" .Values.namePrefix) }}
{{- end }}
{{- end }}

{{- define "scim-operator.servicePort" -}}
{{ .Values.service.port | default (ternary 443 80 (ne (include "scim-operator.tlsSecret" .) "")) }}
{{- end }}

{{- /* The Deployment and the PodDisruptionBudget of a component; dict "root", "component", "values", "args", "ports", "mounts"
(name, path, secret) and "grace". */}}
{{- define "scim-operator.workload" -}}
{{- $selector := include "scim-operator.selector" . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "scim-operator.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "scim-operator.labels" . | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels: {{- $selector | nindent 6 }}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels: {{- $selector | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .component }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "scim-operator.name" . }}
      priorityClassName: {{ .root.Values.namePrefix }}scim-operator
      terminationGracePeriodSeconds: {{ .grace }}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: {{ .component }}
        image: {{ include "scim-operator.image" .root }}
        {{- with .root.Values.image.pullPolicy }}
        imagePullPolicy: {{ . }}
        {{- end }}
        args: {{- toYaml (concat .args .values.extraArgs) | nindent 8 }}
        env:
        - name: NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        - name: GOMEMLIMIT
          valueFrom: {resourceFieldRef: {resource: limits.memory}}
        {{- with .root.Values.tracing }}
        {{- if .endpoint }}
        - {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
        - {name: OTEL_TRACES_SAMPLER, value: traceidratio}
        - {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .ratio | quote }}}
        {{- end }}
        {{- end }}
        {{- with .values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        ports:
        {{- range $port := .ports }}
        - {name: {{ $port.name }}, containerPort: {{ $port.containerPort }}}
        {{- end }}
        - {name: health, containerPort: 8081}
        - {name: metrics, containerPort: 8082}
        startupProbe:
          httpGet: {path: /startupz, port: health}
          periodSeconds: 1
          failureThreshold: 300
        readinessProbe:
          httpGet: {path: /readyz, port: health}
          periodSeconds: 2
        livenessProbe:
          httpGet: {path: /healthz, port: health}
        resources: {{- toYaml .values.resources | nindent 10 }}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        {{- with .mounts }}
        volumeMounts:
        {{- range . }}
        - {name: {{ .name }}, mountPath: {{ .path }}, readOnly: true}
        {{- end }}
        {{- end }}
      {{- with .mounts }}
      volumes:
      {{- range . }}
      - {name: {{ .name }}, secret: {secretName: {{ .secret }}}}
      {{- end }}
      {{- end }}
      {{- with .values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.tolerations }}
      tolerations: {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- with .values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
      {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
      - maxSkew: 1
        topologyKey: {{ . }}
        whenUnsatisfiable: ScheduleAnyway
        matchLabelKeys: [pod-template-hash]
        labelSelector:
          matchLabels: {{- $selector | nindent 12 }}
      {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "scim-operator.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "scim-operator.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- $selector | nindent 6 }}
{{- end }}
