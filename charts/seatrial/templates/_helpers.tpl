{{/* Names and labels. */}}
{{- define "seatrial.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* For what belongs to no namespace: two releases must not meet. */}}
{{- define "seatrial.clustername" -}}
{{- printf "%s-%s" (include "seatrial.fullname" .) .Release.Namespace | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "seatrial.selector" -}}
app.kubernetes.io/name: seatrial
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "seatrial.labels" -}}
{{ include "seatrial.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: seatrial
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "seatrial.serviceaccount" -}}
{{- default (include "seatrial.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "seatrial.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "seatrial.prometheusurl" -}}
{{- if .Values.prometheusURL -}}
{{- .Values.prometheusURL -}}
{{- else if .Values.prometheus.enabled -}}
{{- printf "http://%s-prometheus.%s:9090" (include "seatrial.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* What Pod Security's level restricted asks for. */}}
{{- define "seatrial.podsecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "seatrial.containersecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The environment of the operator, and of the job that cleans up after it. */}}
{{- define "seatrial.environment" -}}
- {name: SEATRIAL_OPERATOR_NAMESPACE, value: {{ .Values.watchNamespace | quote }}}
- {name: SEATRIAL_OPERATOR_LEASE_NAME, value: seatrial-operator}
- {name: SEATRIAL_OPERATOR_LEASE_NAMESPACE, value: {{ .Release.Namespace | quote }}}
- {name: SEATRIAL_OPERATOR_HEALTH_PORT, value: "8080"}
- {name: SEATRIAL_OPERATOR_METRICS_PORT, value: "9090"}
- {name: SEATRIAL_OPERATOR_PROMETHEUS_URL, value: {{ include "seatrial.prometheusurl" . | quote }}}
- {name: SEATRIAL_OPERATOR_RETENTION, value: {{ .Values.operator.retention | quote }}}
- {name: SEATRIAL_OPERATOR_LOG_FORMAT, value: {{ .Values.operator.logFormat | quote }}}
- {name: SEATRIAL_OPERATOR_LOG_LEVEL, value: {{ .Values.operator.logLevel | quote }}}
- {name: SEATRIAL_OPERATOR_ASK_DEADLINE_SECONDS, value: {{ .Values.operator.askDeadlineSeconds | quote }}}
- {name: SEATRIAL_OPERATOR_WORKERS, value: {{ .Values.operator.workers | quote }}}
{{- end -}}

{{/* The operator's rights on studies, trials and their Pods: the verbs that it uses, and no more. */}}
{{- define "seatrial.rules" -}}
- {apiGroups: [seatrial.dev], resources: [studies], verbs: [get, list, watch]}
- {apiGroups: [seatrial.dev], resources: [studies/status], verbs: [patch]}
- {apiGroups: [seatrial.dev], resources: [trials], verbs: [get, list, watch, create]}
- {apiGroups: [seatrial.dev], resources: [trials/status], verbs: [patch]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch, create, patch, delete, deletecollection]}
# For studies with metrics.source: logs, and trials that only print.
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
# Where the API server checks who may block a deletion of an owner (OpenShift does).
- {apiGroups: [seatrial.dev], resources: [studies/finalizers, trials/finalizers], verbs: [update]}
{{- end -}}

{{/* The release's own Pods as a peer of a NetworkPolicy: the operator, and its Prometheus. */}}
{{- define "seatrial.ownPods" -}}
{podSelector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}}
{{- end -}}
