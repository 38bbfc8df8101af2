{{- define "shop.labels" -}}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* Nobody uses this one, so its random text does no harm. */}}
{{- define "shop.password" -}}
{{- randAlphaNum 16 }}
{{- end }}
